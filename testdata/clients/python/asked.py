"""What every client asks."""

import json
import sys

QUESTION = "Tell me about rivers."
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "km": {"type": "integer"}},
    "required": ["name", "km"],
    "additionalProperties": False,
}
TOOL = {
    "name": "look_up",
    "description": "Looks a river up.",
    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
}
# A PNG of one pixel.
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def answering(cases, known):
    """Answers the lines of standard input, each a key, a model and a case. known is the class of an SDK's own errors."""
    for line in sys.stdin:
        key, model, what = line.split()
        try:
            got = cases(sys.argv[1], key, model)[what]()
        except known as err:
            got = {"thrown": True, "status": getattr(err, "status_code", None), "message": err.message}
        print(json.dumps(got), flush=True)
