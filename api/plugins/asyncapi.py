"""AsyncAPI 3.0 of the topics: what kit.json writes, and what our neighbours write to us."""

from typing import Any

from google.protobuf.descriptor import Descriptor

from abacus.topics.v1 import topics_pb2
from api.plugins import examples
from api.plugins.contract import Contracts, first_sentence, for_json
from api.plugins.schemas import Form, Schema, Schemas

BROKER = "127.0.0.1:19092"
NEIGHBOURS = "neighbours"
_BINDING = "0.5.0"  # version of AsyncAPI's own terms for Kafka
_DESCRIPTION = """\
What the services of the shop tell each other, and what others tell the shop.

JSON of proto messages, with whole numbers of 64 bits as numbers and zeros printed; what is unset is left out. Readers \
ignore fields that they do not know. A message may come again, with the same header `id`: it is to take effect once. \
Messages of one key stay in order.
"""


def document(contracts: Contracts) -> dict[str, Any]:
    """Return the document of all topics."""
    schemas = Schemas(contracts, Form.EVENT)
    topics = contracts.topics
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Abacus",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": BROKER,
                "protocol": "kafka",
                "description": "the broker as `make run-all` starts it",
            }
        },
        "channels": {topic.name: _channel(topic, message) for topic, message in topics},
        "operations": {_verb(topic) + message.name: _operation(topic, message) for topic, message in topics},
        "components": {
            "messages": {message.name: _message(contracts, schemas, topic, message) for topic, message in topics},
            "schemas": dict(sorted(schemas.named.items())),
        },
    }


def _verb(topic: topics_pb2.Topic) -> str:
    return "receive" if topic.publisher == NEIGHBOURS else "send"


def _readers(topic: topics_pb2.Topic) -> str:
    return " and ".join(topic.readers) or "no service of ours"


def _channel(topic: topics_pb2.Topic, message: Descriptor) -> Schema:
    return {
        "address": topic.name,
        "description": f"Published by {topic.publisher}, read by {_readers(topic)}.",
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"}},
        "bindings": {
            "kafka": {"topic": topic.name, "partitions": topic.partitions, "bindingVersion": _BINDING},
        },
        "x-publisher": topic.publisher,
        "x-readers": list(topic.readers),
    }


def _operation(topic: topics_pb2.Topic, message: Descriptor) -> Schema:
    channel = {"$ref": "#/channels/" + topic.name}
    told = f"{_readers(topic)} reads" if _verb(topic) == "receive" else f"{topic.publisher} publishes"
    return {
        "action": _verb(topic),
        "channel": channel,
        "summary": f"{told} {message.name}",
        "messages": [{"$ref": f"{channel['$ref']}/messages/{message.name}"}],
    }


def _message(contracts: Contracts, schemas: Schemas, topic: topics_pb2.Topic, message: Descriptor) -> Schema:
    comment = for_json(contracts.comment(message))
    headers = {
        "id": {"type": "string", "format": "uuid", "description": "The same where the message comes again."},
        "type": {"type": "string", "const": message.full_name},
    }
    return {
        "name": message.full_name,
        "title": message.name,
        "summary": first_sentence(comment),
        "description": comment,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": headers,
            # Our neighbours give none: then a message's place in the topic tells it from others.
            **({} if topic.publisher == NEIGHBOURS else {"required": list(headers)}),
        },
        "payload": schemas.reference(message),
        "bindings": {
            "kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": _BINDING},
        },
        "examples": [{"payload": examples.answer(message, Form.EVENT)}],
    }
