"""The shop as containers: what docker-compose.yml and the image need beside the services themselves."""
