"""Answers made of the prompt's own words: enough to make a demo readable."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256

STOP_WORDS = frozenset(
    "a about after again all also am an and any are as at back be because been before being but by "
    "can could did do does done for from get give go had has have he her here him his how i if in "
    "into is it its just like make me more most my need no not now of off on one only or our out "
    "over please she should so some such than that the their them then there these they this those "
    "to too until up us very was we were what when where which while who why will with would you "
    "your yours answer classify extract following keywords list sentence summarise summarize "
    "summary text title translate write".split()
)
# Words that speak for an option although they do not contain it.
HINTS: dict[str, tuple[str, ...]] = {
    "positive": ("love", "great", "good", "excellent", "thank", "happy", "perfect", "amazing"),
    "negative": ("bad", "broken", "terrible", "awful", "refund", "angry", "worst", "hate", "never"),
    "billing": ("invoice", "charge", "refund", "payment", "paid", "price", "card"),
    "technical": ("error", "crash", "broken", "fail", "bug", "slow", "login"),
    "bug": ("error", "crash", "broken", "fail"),
    "shipping": ("package", "parcel", "deliver", "arriv", "courier"),
    "delivery": ("package", "parcel", "arriv", "courier", "ship"),
    "account": ("password", "login", "sign", "profile", "email"),
    "urgent": ("asap", "immediately", "emergency", "now"),
    "high": ("urgent", "asap", "immediately", "emergency", "down"),
    "feature": ("wish", "would", "add", "support", "missing"),
    "spam": ("winner", "prize", "free", "click", "offer"),
}

_word = re.compile(r"[^\W\d_][\w'-]*")
_sentence = re.compile(r"(?<=[.!?])\s+")
_one_of = re.compile(r"(?:one of|either|choose (?:from|between)|labels?:|categories:)\s*([^.\n?]+)")
_separator = re.compile(r"\s*(?:,|;|\||/|\bor\b|\band\b)\s*")


def words(text: str) -> list[str]:
    return _word.findall(text)


def number_from(seed: str, limit: int) -> int:
    """A number below the limit, the same for the same seed."""
    return int.from_bytes(sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8]) % limit


def subject(text: str) -> str:
    """What the prompt is about: the text behind an instruction such as `Summarise this:`."""
    for separator in ("\n\n", ":\n", ": ", "\n"):
        head, found, tail = text.partition(separator)
        if found and tail.strip() and len(words(head)) <= 30:
            return tail.strip()
    return text.strip()


def first_sentence(text: str, longest: int = 30) -> str:
    sentence = _sentence.split(text.strip(), maxsplit=1)[0].split()
    shortened = " ".join(sentence[:longest])
    return shortened + "…" if len(sentence) > longest else shortened


def keywords(text: str, size: int = 3) -> list[str]:
    """The words that matter most: said often, then said early."""
    counted = Counter(
        word.lower() for word in words(text) if len(word) > 2 and word.lower() not in STOP_WORDS
    )
    return [word for word, _ in counted.most_common(size)]


def choose(options: Sequence[str], text: str, seed: str) -> str:
    """The option that the text speaks of; where it speaks of none, always the same one."""
    said = [word.lower() for word in words(text)]
    scores = [_score(option, said) for option in options]
    best = max(scores)
    if best > 0:
        return options[scores.index(best)]
    return options[number_from(seed, len(options))]


def _score(option: str, said: list[str]) -> int:
    parts = [part.lower() for part in re.split(r"[\W_]+", option) if len(part) > 1]
    stems = [part[: max(3, len(part) - 2)] for part in parts]
    direct = sum(word.startswith(stem) for word in said for stem in stems)
    hints = tuple(hint for part in parts for hint in HINTS.get(part, ()))
    return 2 * direct + (sum(word.startswith(hints) for word in said) if hints else 0)


def options_in(task: str) -> list[str]:
    """The options of an instruction such as `Answer with one of: a, b or c.`"""
    found = _one_of.search(task)
    if found is None:
        return []
    options = [option.strip(" '\"`:") for option in _separator.split(found.group(1))]
    return [option for option in options if 0 < len(option) <= 40][:20]


def reply(task: str, text: str, seed: str) -> str:
    """A plausible answer. `task` is all that was said, `text` the user's last message."""
    asked, about = task.lower(), subject(text)
    options = options_in(task)
    if len(options) > 1:
        return choose(options, about, seed)
    if "sentiment" in asked:
        return choose(["positive", "negative", "neutral"], about, seed)
    if "keyword" in asked or "tags" in asked:
        return ", ".join(keywords(about, 5)) or "none"
    if "title" in asked or "headline" in asked:
        return " ".join(word.capitalize() for word in keywords(about, 5)) or "Untitled"
    if "summar" in asked or "tl;dr" in asked or "one sentence" in asked:
        return first_sentence(about) or "There is nothing to summarise."
    if "yes or no" in asked:
        return ("Yes", "No")[number_from(seed, 2)]
    return _remark(about, seed)


def _remark(about: str, seed: str) -> str:
    topics = enumerate_words(keywords(about))
    if not topics:
        return "There is nothing to say about that."
    openings = ("This is about", "In short, it concerns", "The main points are")
    return f"{openings[number_from(seed, len(openings))]} {topics}. {first_sentence(about)}"


def enumerate_words(items: Iterable[str]) -> str:
    *first, last = list(items) or [""]
    return f"{', '.join(first)} and {last}" if first else last
