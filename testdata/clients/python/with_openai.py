"""OpenAI's Python SDK against a running router: with_openai.py BASE_URL.

Reads a line "KEY MODEL CASE" at a time and prints a JSON object for each.
"""

import openai

from asked import IMAGE, QUESTION, SCHEMA, TOOL, answering

TOOLS = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}
FLAT_TOOLS = {"tools": [{"type": "function", **TOOL}], "tool_choice": "required"}
CUSTOM = {
    "tools": [{"type": "custom", "custom": {"name": TOOL["name"]}}],
    "tool_choice": {"type": "custom", "custom": {"name": TOOL["name"]}},
}
FLAT_CUSTOM = {
    "tools": [{"type": "custom", "name": TOOL["name"]}],
    "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": TOOL["name"]}]},
}
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
        if call.type == "custom":
            got["name"], got["arguments"] = call.custom.name, call.custom.input
        else:
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
                if call.function:
                    got["name"] = call.function.name or got.get("name")
                    got["arguments"] += call.function.arguments or ""
                else:  # the SDK does not know custom tools in chunks
                    got["name"] = call.custom.get("name") or got.get("name")
                    got["arguments"] += call.custom["input"]
    return got


def said(response):
    got = {
        "text": response.output_text,
        "finish": response.incomplete_details.reason if response.incomplete_details else response.status,
        "model": response.model,
        "prompt_tokens": response.usage.input_tokens,
        "completion_tokens": response.usage.output_tokens,
    }
    for item in response.output:
        if item.type == "function_call":
            got["name"], got["arguments"] = item.name, item.arguments
        elif item.type == "custom_tool_call":
            got["name"], got["arguments"] = item.name, item.input
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

    def completion():
        answer = client.completions.create(model=model, prompt=QUESTION, max_tokens=24)
        choice = answer.choices[0]
        return {
            "text": choice.text,
            "finish": choice.finish_reason,
            "model": answer.model,
            "completion_tokens": answer.usage.completion_tokens,
        }

    def streamed(**more):
        with client.responses.stream(model=model, input=QUESTION, **more) as events:
            for event in events:
                if event.type in ("response.completed", "response.incomplete"):
                    return said(event.response)

    def embedding():
        answer = client.embeddings.create(model="m/embed", input=[QUESTION], encoding_format="float")
        return {"model": answer.model, "vector": answer.data[0].embedding, "prompt_tokens": answer.usage.prompt_tokens}

    return {
        "whole": lambda: shown(create(max_tokens=24)),
        "stream": lambda: gather(create(max_tokens=24, stream=True, stream_options={"include_usage": True})),
        "tool": lambda: shown(create(**TOOLS)),
        "stream_tool": lambda: gather(create(**TOOLS, stream=True)),
        "custom": lambda: shown(create(**CUSTOM)),
        "stream_custom": lambda: gather(create(**CUSTOM, stream=True)),
        "response_custom": lambda: said(client.responses.create(model=model, input=QUESTION, **FLAT_CUSTOM)),
        "response_stream_custom": lambda: streamed(**FLAT_CUSTOM),
        "structured": lambda: shown(create(response_format=STRUCTURED)),
        "image": lambda: shown(create(PICTURE, max_tokens=24)),
        "completion": completion,
        "response": lambda: said(client.responses.create(model=model, input=QUESTION, max_output_tokens=24)),
        "response_stream": lambda: streamed(max_output_tokens=24),
        "response_tool": lambda: said(client.responses.create(model=model, input=QUESTION, **FLAT_TOOLS)),
        "response_stream_tool": lambda: streamed(**FLAT_TOOLS),
        "embedding": embedding,
        "models": lambda: {"ids": [one.id for one in client.models.list()]},
        "retrieve": lambda: {"id": client.models.retrieve(model).id},
        "cancel": cancel,
    }


answering(cases, openai.APIError)
