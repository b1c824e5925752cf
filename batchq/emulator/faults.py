"""The faults that are armed now: which, how often still, and how often each has shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchq.emulator.catalogue import ALWAYS_ON, CATALOGUE
from batchq.emulator.fault import SELECTION, Fault
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject, as_list, is_integer


@dataclass
class Armed:
    """A fault somebody asked for: how often it may still be taken, and how often it showed."""

    options: JsonObject
    times: int | None
    taken: int = 0
    fired: int = 0
    lifted: bool = False

    @property
    def active(self) -> bool:
        return not self.lifted and (self.times is None or self.taken < self.times)


class Faults:
    """The faults that are armed. `changed` is called with their state whenever it differs."""

    def __init__(self, changed: Callable[[JsonObject], None]) -> None:
        self._armed: dict[str, Armed] = {}
        self._changed = changed

    def restore(self, state: JsonObject) -> None:
        self._armed = {name: Armed(**armed) for name, armed in state.items()}

    def clear(self) -> None:
        """Back to the faults that are on by default."""
        self._armed = {name: Armed({}, None) for name in ALWAYS_ON}
        self._save()

    def arm(self, name: str, options: Mapping[str, Any]) -> None:
        fault = known(name)
        check_options(fault, options)
        chosen = dict(options)
        times = chosen.pop("times", _default_times(fault, chosen))
        self._armed[name] = Armed(_with_defaults(fault, chosen), times)
        self._save()

    def lift(self, name: str) -> None:
        """End a fault. Batches that are stuck in it go on; its counts stay readable."""
        known(name)
        if name in self._armed:
            self._armed[name].lifted = True
            self._save()

    def lifted(self, name: str) -> bool:
        armed = self._armed.get(name)
        return armed is None or armed.lifted

    def fire(self, name: str, call: str | None = None) -> JsonObject | None:
        """Use up one time of a call fault: its options, or None where it is not armed."""
        armed = self._armed.get(name)
        if armed is None or not armed.active:
            return None
        if call is not None and armed.options.get("call") not in (None, call):
            return None
        armed.taken += 1
        armed.fired += 1
        self._save()
        return armed.options

    def condition(self, name: str) -> JsonObject | None:
        """The options of a world fault that holds."""
        armed = self._armed.get(name)
        return armed.options if armed is not None and armed.active else None

    def take_for_batch(self) -> JsonObject:
        """Use up one time of every batch fault: the faults a new batch lives under."""
        taken = {
            name: armed
            for name, armed in self._armed.items()
            if armed.active and CATALOGUE[name].level == "batch"
        }
        for armed in taken.values():
            armed.taken += 1
        if taken:
            self._save()
        return {name: armed.options for name, armed in taken.items()}

    def showed(self, name: str) -> None:
        """Count that a batch or world fault had its effect."""
        if name in self._armed:
            self._armed[name].fired += 1
            self._save()

    def view(self, name: str) -> JsonObject:
        fault = known(name)
        armed = self._armed.get(name)
        left = None if armed is None or armed.times is None else armed.times - armed.taken
        return {
            "name": name,
            "level": fault.level,
            "description": fault.description,
            "accepts": fault.options,
            "active": armed is not None and armed.active,
            "options": {} if armed is None else armed.options,
            "times_left": left,
            "taken": 0 if armed is None else armed.taken,
            "fired": 0 if armed is None else armed.fired,
        }

    def _save(self) -> None:
        self._changed({name: dict(vars(armed)) for name, armed in self._armed.items()})


def known(name: str) -> Fault:
    if name not in CATALOGUE:
        raise Refusal(404, f"There is no fault '{name}'. GET /emulator/faults lists them.")
    return CATALOGUE[name]


def check_options(fault: Fault, options: Mapping[str, Any]) -> None:
    for option in options:
        if option not in fault.options:
            accepted = ", ".join(fault.options)
            raise Refusal(
                400, f"The fault '{fault.name}' takes no '{option}'. It takes: {accepted}."
            )
    times = options.get("times")
    if times is not None and not (is_integer(times) and times >= 0):
        raise Refusal(400, "'times' is a number of times, or null for always.")
    for option, value in options.items():
        _check_value(option, value, fault.defaults.get(option))


def _check_value(option: str, value: Any, usual: Any) -> None:
    """An option has the type of its usual value; counts of lines are counts."""
    least = {"every": 1, "first": 0, "line": 1}.get(option)
    if least is not None and value is not None and not (is_integer(value) and value >= least):
        raise Refusal(400, f"'{option}' is a whole number, {least} or more.")
    if isinstance(usual, bool) or not isinstance(usual, int | float | str):
        fits = not isinstance(usual, bool) or isinstance(value, bool)
    elif isinstance(usual, str):
        fits = value is None or isinstance(value, str)
    else:
        fits = value is None or (_is_number(value) and value >= 0)
    if not fits:
        raise Refusal(400, f"'{option}' is of another type: usually it is {usual!r}.")


def _is_number(value: Any) -> bool:
    return is_integer(value) or isinstance(value, float)


def _default_times(fault: Fault, options: Mapping[str, Any]) -> int | None:
    # A fault that waits for a certain line must not be used up by batches without that line.
    waits = fault.picks_lines and ("custom_id" in options or "containing" in options)
    return None if fault.level == "world" or waits else 1


def _with_defaults(fault: Fault, options: Mapping[str, Any]) -> JsonObject:
    chosen = any(name in options for name in (*SELECTION, "line"))
    defaults = {
        name: value
        for name, value in fault.defaults.items()
        if not (chosen and fault.picks_lines and name in SELECTION)
    }
    return {**defaults, **options}


def picks(options: Mapping[str, Any], *, index: int, custom_id: str, raw: bytes) -> bool:
    """Whether a fault with these options picks a line of a batch (`index` counts from 0)."""
    wanted = options.get("custom_id")
    if wanted is not None:
        return custom_id in (as_list(wanted) or [wanted])
    if options.get("containing") is not None:
        return str(options["containing"]).encode() in raw
    if options.get("every") is not None:
        return index % int(options["every"]) == 0
    if options.get("first") is not None:
        return index < int(options["first"])
    return False
