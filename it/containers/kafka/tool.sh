#!/bin/bash
# The image's bin/kafka-*.sh, as far as the health check uses them.
set -euo pipefail
export CLASSPATH="/opt/kafka/libs/*"
case ${0##*/} in
  kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
  kafka-console-producer.sh) class=org.apache.kafka.tools.ConsoleProducer ;;
  kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
esac
# shellcheck disable=SC2086 # several options
exec java ${KAFKA_HEAP_OPTS:-} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties "$class" "$@"
