"""Fails if openapi-python-client has left out an operation of a document, or an answer of one: it may do so and exit with 0.

Usage: missing_operations.py DOCUMENT CLIENT
"""

import json
import re
import sys
from pathlib import Path

from openapi_python_client.strings import PythonIdentifier

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def missing(document: dict, client: Path):
    """A line for each operation and each answer that the client does not have."""
    modules = {path.stem: path for path in client.glob("api/*/*.py")}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in METHODS:
                continue
            name = operation["operationId"]
            here = f"{method.upper()} {path} ({name})"
            module = modules.get(PythonIdentifier(name, ""))
            code = module.read_text() if module else ""
            if "\ndef sync_detailed(" not in code:
                yield f"no function was generated for {here}"
                continue
            read = set(re.findall(r"status_code == (\d+):", code))
            for status in sorted(set(operation["responses"]) - read - {"default"}):
                yield f"the generated function does not know the answer {status} of {here}"


def main() -> int:
    document = json.loads(Path(sys.argv[1]).read_text())
    lines = list(missing(document, Path(sys.argv[2])))
    print("\n".join(lines))
    return 1 if lines else 0


sys.exit(main())
