"""Webhooks in Django: a view and its line in `urls.py`, here with the settings of a whole project.

`python -m examples.webhook_django runserver`
"""

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from batchq.webhook import LARGEST, handle
from examples.plain_app import app as celery_app

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])


@csrf_exempt  # The provider has no token of ours; it signs.
@require_POST
def openai_webhook(request: HttpRequest) -> HttpResponse:
    body = request.read(LARGEST + 1)
    answer = handle(body, request.headers, app=celery_app)
    return HttpResponse(answer.word, status=answer.status, content_type="text/plain")


urlpatterns = [path("openai/webhook", openai_webhook)]

if __name__ == "__main__":
    execute_from_command_line()
