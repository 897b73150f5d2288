"""Anthropic's Python SDK against a running router: with_anthropic.py BASE_URL.

Reads a line "KEY MODEL CASE" at a time and prints a JSON object for each.
"""

import json

import anthropic

from asked import IMAGE, QUESTION, SCHEMA, TOOL, answering

TOOLS = {
    "tools": [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}],
    "tool_choice": {"type": "any"},
}
STRUCTURED = {"format": {"type": "json_schema", "schema": SCHEMA}}
PICTURE = [
    {"type": "text", "text": QUESTION},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}},
]


def shown(answer):
    got = {
        "text": "".join(block.text for block in answer.content if block.type == "text"),
        "finish": answer.stop_reason,
        "model": answer.model,
        "provider": getattr(answer, "provider", None),
        "prompt_tokens": answer.usage.input_tokens,
        "completion_tokens": answer.usage.output_tokens,
    }
    for block in answer.content:
        if block.type == "tool_use":
            got["name"], got["arguments"] = block.name, json.dumps(block.input)
    return got


def cases(url, key, model):
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)

    def asked(content=QUESTION, max_tokens=200, **more):
        return {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}], **more}

    def stream(**more):
        with client.messages.stream(**asked(**more)) as events:
            return shown(events.get_final_message())

    def cancel():
        chunks = 0
        with client.messages.create(**asked(max_tokens=2000), stream=True) as events:
            for _ in events:
                chunks += 1
                if chunks == 3:
                    break
        return {"chunks": chunks}

    def count():
        question = asked()
        del question["max_tokens"]
        return {"prompt_tokens": client.messages.count_tokens(**question).input_tokens}

    return {
        "whole": lambda: shown(client.messages.create(**asked(max_tokens=24))),
        "stream": lambda: stream(max_tokens=24),
        "tool": lambda: shown(client.messages.create(**asked(**TOOLS))),
        "stream_tool": lambda: stream(**TOOLS),
        "structured": lambda: shown(client.messages.create(**asked(output_config=STRUCTURED))),
        "image": lambda: shown(client.messages.create(**asked(PICTURE, max_tokens=24))),
        "models": lambda: {"ids": [one.id for one in client.models.list(limit=2)]},
        "retrieve": lambda: {"id": client.models.retrieve(model).id},
        "count": count,
        "cancel": cancel,
    }


answering(cases, anthropic.APIError)
