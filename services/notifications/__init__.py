"""Messages to customers: what they are told about their orders, and what became of each message."""
