"""Reads every record of every topic with a client that is not ours: confluent-kafka's AvroDeserializer.

It proves that the topics are readable outside Rust: wire format, schema ids, logical types and headers. Prints the number of records by type as
JSON. Exits 1 when a record cannot be decoded, or when a record type that the rest of the world relies on does not occur.

    python read_topics.py [--bootstrap HOST:PORT] [--registry URL] [--require TYPE ...]

The addresses default to KAFKA_BOOTSTRAP and SCHEMA_REGISTRY_URL, as `./run status -o env` prints them.
"""

import argparse
import collections
import json
import os
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

REQUIRED = ["orders.OrderPlaced", "payments.CapturePayment"]
# a relay's own bookkeeping, JSON by design
NOT_AVRO = ".relay.position"
# Kafka's own, the health check's, and the registry's store under docker-compose
INTERNAL = ("__", "stack.", "kafkasql-")
IDLE_S = 30.0


def full_name(schema_text):
    """The full name of the record that a registered schema describes."""
    schema = json.loads(schema_text)
    name, namespace = schema["name"], schema.get("namespace", "")
    return name if "." in name or not namespace else f"{namespace}.{name}"


def topics(consumer):
    """Every topic that holds records for others, with its partitions."""
    listed = consumer.list_topics(timeout=10).topics
    return {
        name: sorted(topic.partitions)
        for name, topic in sorted(listed.items())
        if not name.startswith(INTERNAL) and not name.endswith(NOT_AVRO)
    }


def messages(consumer, partitions):
    """Every committed record, from the first to the end at this moment."""
    consumer.assign([TopicPartition(topic, partition, 0) for topic, numbers in partitions.items() for partition in numbers])
    open_partitions = sum(len(numbers) for numbers in partitions.values())
    while open_partitions:
        message = consumer.poll(IDLE_S)
        if message is None:
            raise TimeoutError(f"{open_partitions} partitions gave nothing for {IDLE_S:.0f} s")
        if message.error() is None:
            yield message
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_partitions -= 1
        else:
            raise KafkaException(message.error())


def decode(message, deserialize, registry):
    """The record type of a message; raises when any part of it is not as documented."""
    value = message.value()
    headers = {name: bytes(text).decode() for name, text in message.headers() or []}
    # what operators decided, and outside calls that were given up: JSON by design, and they say so
    if headers.get("content-type") == "application/json":
        json.loads(value)
        return f"JSON on {message.topic()}"
    # the bytes of a failed message, unchanged: they may be the very reason why it failed
    if ".retry." in message.topic() or message.topic().endswith(".dlq"):
        return f"failed message of {headers['orig-topic']}"
    record = deserialize(value, SerializationContext(message.topic(), MessageField.VALUE))
    if not isinstance(record, dict):
        raise ValueError(f"decodes to {type(record).__name__}, not to a record")
    schema = registry.get_schema(int.from_bytes(value[1:5], "big"))
    name = full_name(schema.schema_str)
    if headers.get("ce_type") != name:
        raise ValueError(f"header ce_type says {headers.get('ce_type')}, the schema says {name}")
    return name


def main():
    """Reads everything, prints the counts, and says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", default=os.environ.get("KAFKA_BOOTSTRAP"), required="KAFKA_BOOTSTRAP" not in os.environ)
    parser.add_argument("--registry", default=os.environ.get("SCHEMA_REGISTRY_URL"), required="SCHEMA_REGISTRY_URL" not in os.environ)
    parser.add_argument("--require", nargs="*", default=REQUIRED, help="record types that must occur")
    arguments = parser.parse_args()

    registry = SchemaRegistryClient({"url": arguments.registry})
    deserialize = AvroDeserializer(registry)
    login = {}
    if os.environ.get("KAFKA_USER"):  # where Kafka lets in principals only
        login = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": os.environ["KAFKA_USER"],
            "sasl.password": os.environ["KAFKA_PASSWORD"],
        }
    consumer = Consumer(
        login
        | {
            "bootstrap.servers": arguments.bootstrap,
            "group.id": "read-topics",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    counts, faults = collections.Counter(), []
    try:
        for message in messages(consumer, topics(consumer)):
            try:
                counts[decode(message, deserialize, registry)] += 1
            except Exception as error:  # any failure to decode is the finding, whatever its kind
                faults.append(f"{message.topic()}-{message.partition()} offset {message.offset()}: {error}")
    finally:
        consumer.close()

    print(json.dumps(dict(sorted(counts.items())), indent=2))
    faults += [f"no {name} on any topic" for name in arguments.require if not counts[name]]
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    if len(faults) > 20:
        print(f"and {len(faults) - 20} more", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
