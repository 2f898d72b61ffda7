#!/bin/bash
# One KRaft node in the image apache/kafka, with the settings of the native stack: deploy/kafka/server.properties.
# The image's own start script would take them from the environment; it needs a root folder that can be written.
set -euo pipefail

bin=/opt/kafka/bin
settings=/tmp/server.properties
data=/var/lib/kafka/data

# Clients in other containers come by PLAINTEXT, those on the host by HOST: each must be told an address that it can
# reach. The controller is this process itself.
cat /etc/abacus/server.properties - > "$settings" <<END

listeners=PLAINTEXT://0.0.0.0:19092,HOST://0.0.0.0:19094,CONTROLLER://127.0.0.1:19093
advertised.listeners=PLAINTEXT://kafka:19092,HOST://127.0.0.1:$HOST_PORT
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:19093
log.dirs=$data
END

# An id tells clusters apart that could meet; this one is alone.
"$bin/kafka-storage.sh" format --ignore-formatted --cluster-id AbacusDockerKafkaNodeA --config "$settings"
exec "$bin/kafka-server-start.sh" "$settings"
