"""Which targets a request goes to, in order. Pure: a function of the model's name and what the providers list.

    1. `provider/model`: that provider, where it may be asked for that model.
    2. A model that some provider lists: those providers, in file order, that speak the dialect or can be translated to.
    3. Anything else is not found, and the answer names what there is.

A model's own name may hold a slash (`openai/gpt-4o` at a provider of another name), so a name that has no provider
before its first slash is looked up whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headgate.errors import Problem, Reason
from headgate.routing.target import Provider, Target
from headgate.wire.dialect import Dialect

_NAMED_AT_MOST = 20
#: Names that a misspelt one is compared with; with more of them it would take too long.
_COMPARED_AT_MOST = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """candidates: tried in order; at least one."""

    candidates: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What there is to ask for. listed: the models of each provider that says so itself, by provider name."""

    providers: tuple[Provider, ...]
    listed: Mapping[str, tuple[str, ...]]

    def models_of(self, provider: Provider) -> tuple[str, ...]:
        return provider.models if provider.models is not None else self.listed.get(provider.name, ())

    def targets(self) -> tuple[Target, ...]:
        """Every known target, in the order of the file."""
        return tuple(Target(p, model) for p in self.providers for model in self.models_of(p))


class Router:
    """Looks names up in one catalog; made anew when the catalog changes."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._providers = {p.name: p for p in catalog.providers}
        self._by_model: dict[str, list[Target]] = {}
        self._by_name: dict[str, Target] = {}
        self._plans: dict[tuple[str, Dialect], Plan] = {}
        for target in catalog.targets():
            self._by_model.setdefault(target.model, []).append(target)
            self._by_name[target.name] = target

    def plan(self, model: str, dialect: Dialect, allowed: Callable[[Target], bool] | None = None) -> Plan | Problem:
        """The way of a request for `model`. allowed: whether the client's key may use a target; None: any."""
        if allowed is not None:
            return self._plan(model, dialect, allowed)
        known = self._plans.get((model, dialect))
        if known is not None:
            return known
        planned = self._plan(model, dialect, _any)
        if isinstance(planned, Plan) and (model in self._by_name or model in self._by_model):
            self._plans[model, dialect] = planned  # as many as the catalog has names, and no invented ones
        return planned

    def _plan(self, model: str, dialect: Dialect, allowed: Callable[[Target], bool]) -> Plan | Problem:
        targets = self.named(model)
        if not targets:
            return self._not_found(model, allowed)
        targets = [t for t in targets if allowed(t)]
        if not targets:
            return Problem(Reason.FORBIDDEN, f"this key may not use the model {model!r}", param="model")
        askable = tuple(t for t in targets if t.provider.asked_in(dialect) is not None)
        return Plan(askable) if askable else _not_spoken(model, dialect, targets)

    def named(self, model: str) -> list[Target]:
        """All targets that this name can mean."""
        target = self._by_name.get(model)
        if target is not None:
            return [target]
        head, slash, rest = model.partition("/")
        provider = self._providers.get(head)
        if slash and rest and provider is not None and provider.models is None:
            # What it lists may be out of date, or not its whole truth (aliases, fine-tunes): its word will count.
            return [Target(provider, rest)]
        return self._by_model.get(model, [])

    def visible(self, allowed: Callable[[Target], bool]) -> list[str]:
        """The names that `/v1/models` lists."""
        return [name for name, target in self._by_name.items() if allowed(target)]

    def _not_found(self, model: str, allowed: Callable[[Target], bool]) -> Problem:
        there = self.visible(allowed)
        known = {name: name for name in there} | {self._by_name[name].model: name for name in reversed(there)}
        near = difflib.get_close_matches(model[:200], known, n=1) if len(known) <= _COMPARED_AT_MOST else []
        hint = f" Did you mean {known[near[0]]!r}?" if near else ""
        shown = ", ".join(there[:_NAMED_AT_MOST]) or "none"
        more = f" and {len(there) - _NAMED_AT_MOST} more (GET /v1/models)" if len(there) > _NAMED_AT_MOST else ""
        return Problem(
            Reason.MODEL_NOT_FOUND,
            f"nothing here serves the model {model[:200]!r}.{hint} There is: {shown}{more}.",
            param="model",
        )


def _any(_: Target) -> bool:
    return True


def _not_spoken(model: str, dialect: Dialect, targets: list[Target]) -> Problem:
    first = targets[0].provider
    spoken = ", ".join(sorted(first.dialects))
    return Problem(
        Reason.DIALECT_NOT_SPOKEN,
        f"the provider {first.name!r} of the model {model!r} does not speak {dialect.value}, which is not "
        f"translated; it speaks {spoken}",
        param="model",
    )
