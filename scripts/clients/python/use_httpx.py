"""httpx: a Client."""

import httpx
from lines import keywords, serve

client = httpx.Client()


def send(call):
    answer = client.request(call.method, call.url, headers=call.headers, **keywords(call, text="content"))
    names = [(name.decode(), value.decode()) for name, value in answer.headers.raw]
    return answer.status_code, names, answer.content


serve(httpx.__version__, send)
