"""requests: a Session."""

import requests
from lines import serve

session = requests.Session()


def body(call):
    match call.kind:
        case "form":
            return {"data": call.fields}
        case "multipart":
            return {"files": {name: (None, value) for name, value in call.fields.items()}}
        case "json":
            return {"json": call.json}
        case "text":
            return {"data": call.text}
    return {}


def send(call):
    answer = session.request(call.method, call.url, headers=call.headers, **body(call))
    return answer.status_code, answer.raw.headers.items(), answer.content


serve(requests.__version__, send)
