#!/bin/bash
# As the image's own: KAFKA_A_B=c becomes a.b=c, an empty volume is formatted, the broker takes this process.
set -euo pipefail
properties=/tmp/server.properties
: >"$properties"
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_HOME) ;;
    KAFKA_*) name=${name#KAFKA_}; name=${name,,}; echo "${name//_/.}=$value" >>"$properties" ;;
  esac
done < <(env)
cd /tmp
export CLASSPATH="/opt/kafka/libs/*"
java -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c "$properties" >&2
# shellcheck disable=SC2086 # several options
exec java $KAFKA_HEAP_OPTS -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties kafka.Kafka "$properties"
