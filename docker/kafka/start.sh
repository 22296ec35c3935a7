#!/usr/bin/env bash
# What each container of docker-compose-kafka.yml runs: broker and controller NODE, with the one user of all listeners with SASL.
set -euo pipefail

# Ports that the host reaches end with 4, 5 and 6.
sed "s/@NODE@/$NODE/g; s/@DIGIT@/$((NODE + 3))/g" /opt/rskafka/server.properties > /tmp/server.properties
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id cnNrYWZrYS1jb21wb3NlMQ --config /tmp/server.properties \
  --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]' \
  --add-scram 'SCRAM-SHA-512=[name=alice,password=alice-secret]'
exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
