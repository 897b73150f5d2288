"""OpenAI's Python SDK against a running router: with_openai.py BASE_URL.

Reads a line "KEY MODEL CASE" at a time and prints a JSON object for each.
"""

import openai

from asked import IMAGE, QUESTION, SCHEMA, TOOL, answering

TOOLS = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "river", "schema": SCHEMA, "strict": True}}
PICTURE = [
    {"type": "text", "text": QUESTION},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + IMAGE}},
]


def shown(answer):
    choice = answer.choices[0]
    got = {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "model": answer.model,
        "provider": answer.provider,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
    }
    for call in choice.message.tool_calls or []:
        got["name"], got["arguments"] = call.function.name, call.function.arguments
    return got


def gather(stream):
    got = {"text": "", "arguments": ""}
    for chunk in stream:
        got["model"] = chunk.model
        if chunk.usage:
            got["prompt_tokens"], got["completion_tokens"] = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            got["text"] += choice.delta.content or ""
            got["finish"] = choice.finish_reason or got.get("finish")
            for call in choice.delta.tool_calls or []:
                got["name"] = call.function.name or got.get("name")
                got["arguments"] += call.function.arguments or ""
    return got


def cases(url, key, model):
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)

    def create(content=QUESTION, **more):
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **more)

    def cancel():
        chunks = 0
        with create(stream=True) as stream:
            for _ in stream:
                chunks += 1
                if chunks == 3:
                    break
        return {"chunks": chunks}

    return {
        "whole": lambda: shown(create(max_tokens=24)),
        "stream": lambda: gather(create(max_tokens=24, stream=True, stream_options={"include_usage": True})),
        "tool": lambda: shown(create(**TOOLS)),
        "stream_tool": lambda: gather(create(**TOOLS, stream=True)),
        "structured": lambda: shown(create(response_format=STRUCTURED)),
        "image": lambda: shown(create(PICTURE, max_tokens=24)),
        "models": lambda: {"ids": [one.id for one in client.models.list()]},
        "retrieve": lambda: {"id": client.models.retrieve(model).id},
        "cancel": cancel,
    }


answering(cases, openai.APIError)
