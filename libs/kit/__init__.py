"""What every service needs and no shop noun: the way in, the way out, the database, events, workers."""
