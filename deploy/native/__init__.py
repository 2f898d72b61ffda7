"""The shop on one machine without Docker: PostgreSQL, Kafka and the services as processes, from wheels and jars."""
