"""aiohttp: a ClientSession."""

import asyncio

import aiohttp
from lines import serve

loop = asyncio.new_event_loop()


def body(call):
    match call.kind:
        case "form":
            return {"data": call.fields}
        case "multipart":
            return {"data": aiohttp.FormData(call.fields, default_to_multipart=True)}
        case "json":
            return {"json": call.json}
        case "text":
            return {"data": call.text}
    return {}


async def exchange(call):
    async with session.request(call.method, call.url, headers=call.headers, **body(call)) as answer:
        names = [(name.decode(), value.decode()) for name, value in answer.raw_headers]
        return answer.status, names, await answer.read()


async def open_session():
    return aiohttp.ClientSession()


session = loop.run_until_complete(open_session())
serve(aiohttp.__version__, lambda call: loop.run_until_complete(exchange(call)))
loop.run_until_complete(session.close())
