"""Two keys at OpenAI and a resource at Azure: the client that asks decides whose prompt it is."""

import os

from celery import Celery
from openai import AzureOpenAI, OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.accounts")
app.config_from_object("celeryconfig")
app.conf.batchq_accounts = {
    "search": {"api_key": "env:SEARCH_OPENAI_KEY"},
    "support": {
        "api_key": "env:SUPPORT_OPENAI_KEY",
        "limits": {"enqueued_tokens": {"gpt-5.6-luna": 40_000_000}},
    },
    # Its URL, key and version come from AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY and
    # OPENAI_API_VERSION, as the SDK's do.
    "azure": {"kind": "azure"},
}
batchq.install(app)

search = OpenAI(api_key=os.environ["SEARCH_OPENAI_KEY"])
support = OpenAI(api_key=os.environ["SUPPORT_OPENAI_KEY"])
azure = AzureOpenAI()


@app.task
@batched_llm_task
def ask(account: str, text: str) -> str:
    client = {"search": search, "support": support, "azure": azure}[account]
    completion = client.chat.completions.create(
        # At Azure, the name of a deployment of the kind "Global Batch".
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": text}],
    )
    return completion.choices[0].message.content or ""


if __name__ == "__main__":
    results = {name: ask.delay(name, "Say hello.") for name in ("search", "support", "azure")}
    for name, result in results.items():
        print(name, "->", result.get(timeout=600))
