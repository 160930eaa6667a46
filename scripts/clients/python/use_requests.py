"""requests: a Session."""

import requests
from lines import keywords, serve

session = requests.Session()


def send(call):
    answer = session.request(call.method, call.url, headers=call.headers, **keywords(call, text="data"))
    return answer.status_code, answer.raw.headers.items(), answer.content


serve(requests.__version__, send)
