"""Webhooks in Flask: `flask --app examples.webhook_flask run`."""

from flask import Flask, Response, request

from batchq.webhook import LARGEST, handle
from examples.plain_app import app as celery_app

app = Flask(__name__)


@app.post("/openai/webhook")
def openai_webhook() -> Response:
    # The bytes as they came: what was parsed and written again is not what was signed.
    body = request.stream.read(LARGEST + 1)
    answer = handle(body, request.headers, app=celery_app)
    return Response(answer.word, answer.status, mimetype="text/plain")
