"""DSPy, by litellm."""

from __future__ import annotations

import dspy

from tests.capture.bench import MODEL
from tests.clients.both import Both

TEXTS = ["Bread is dear.", "Milk is cheap.", "Salt is salt."]


def lm(**more: object) -> dspy.LM:
    """Without the cache: docs/clients.md says why."""
    return dspy.LM(f"openai/{MODEL}", cache=False, temperature=1.0, max_tokens=16000, **more)


def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return str(lm()(text)[0])

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """signatures (`JSONAdapter`)"""

    def body(text: str) -> str:
        with dspy.context(lm=lm(), adapter=dspy.JSONAdapter()):
            return str(dspy.Predict("text -> name: str")(text=text).name)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_parallel(both: Both) -> None:
    """`dspy.Parallel`"""

    def body() -> list[str]:
        with dspy.context(lm=lm(), adapter=dspy.JSONAdapter()):
            predict = dspy.Predict("text -> name: str")
            pairs = [(predict, dspy.Example(text=each).with_inputs("text")) for each in TEXTS]
            done = dspy.Parallel(num_threads=4, disable_progress_bar=True)(pairs)
            return [str(each.name) for each in done]

    both.same(body, prompts=3, rounds=1)


def test_the_responses_api(both: Both) -> None:
    """`model_type="responses"`"""

    def body(text: str) -> str:
        said = lm(model_type="responses")(text)[0]
        return str(said["text"] if isinstance(said, dict) else said)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body() -> list[float]:
        made = dspy.Embedder("openai/text-embedding-3-small", dimensions=8, caching=False)
        return [float(number) for number in made(TEXTS)[0]]

    both.same(body, prompts=1, rounds=1)


def test_its_cache(both: Both) -> None:
    """With its cache, no task gets another question's answer."""
    # In memory only: what earlier runs of this test have left on disk would be answered at once.
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    cached = dspy.LM(f"openai/{MODEL}", temperature=1.0, max_tokens=16000)
    both.no_wrong_answer(
        lambda text: str(cached(text)[0]), uncached=lambda text: str(lm()(text)[0])
    )
