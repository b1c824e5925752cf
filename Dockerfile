# The image of docker-compose.yml: the emulator, the worker, beat and Flower, each by its command.
FROM python:3.13-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY batchq_cli.py batchq_pytest.py ./
COPY batchq batchq
RUN pip install --no-cache-dir --constraint constraints.txt '.[emulator,flower]'
COPY celeryconfig.py ./
COPY demo demo

RUN useradd --create-home batchq && mkdir /data && chown batchq /data
USER batchq
