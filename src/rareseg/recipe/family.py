"""Alternative sections for one place of the recipe, told apart by their name.

A network reads other settings than another network, and a loss others than another loss. Each has
a section of its own, so that a recipe never holds a key that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from rareseg.errors import RecipeError, nearest
from rareseg.recipe.section import Section

S = TypeVar("S", bound=Section)

Upgrade = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Turns values that an earlier version wrote into those of today."""


class Family(Generic[S]):
    """The sections that may stand at ``place`` of a recipe; the first registered is the default."""

    def __init__(self, place: str, base: type[S], *, upgrade: Upgrade = lambda values: values):
        self.place = place
        self._base = base
        self._upgrade = upgrade
        self._members: dict[str, type[S]] = {}

    def register(self, section: type[S]) -> type[S]:
        """Add a section by the default of its ``name``; usable as a decorator.

        Raises :class:`RecipeError` where there is none, or another section has the name.
        """
        field = section.model_fields.get("name")
        if field is None or not isinstance(field.default, str):
            raise RecipeError(
                f"{section.__name__} has no {self.place}.name to be found by; give it a line such "
                "as name: Literal['mine'] = 'mine'."
            )
        name = field.default
        if self._members.get(name, section) is not section:
            raise RecipeError(
                f"{self.place}.name {name!r} is registered twice; give one of them another name."
            )
        self._members[name] = section
        return section

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members, in the order of their registration."""
        return tuple(self._members)

    def member(self, name: object) -> type[S]:
        """Return the section called ``name``; RecipeError for an unknown one."""
        found = self._members.get(str(name))
        if found is None:
            raise RecipeError(
                f"{self.place}.name is {name!r}{nearest(str(name), self._members)}; allowed are "
                f"{', '.join(self._members)}."
            )
        return found

    def readers(self, keys: Collection[str]) -> tuple[str, ...]:
        """Return the names of the members that read all of ``keys``."""
        return tuple(
            name
            for name, section in self._members.items()
            if all(key in section.model_fields for key in keys)
        )

    def current(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``values`` as this version writes them, whichever version wrote them."""
        return dict(self._upgrade(values))

    def section_of(self, values: Mapping[str, Any]) -> type[S]:
        """Return the section that values belong to: the named one, or the first that reads them.

        Where none reads all of them it is the default, whose validation names the odd key.
        """
        if values.get("name") is not None:
            return self.member(values["name"])
        return self._members[next(iter([*self.readers(values), *self.names]))]

    def validate(self, values: object) -> object:
        """Return the section of some values, for pydantic; sections pass as they are.

        Values without a name belong to the first member that takes them.
        """
        if not isinstance(values, Mapping):
            return values
        current = self.current(values)
        if current.get("name") is None:
            for name in self.readers(current):
                try:
                    return self.member(name).model_validate(current)
                except ValidationError:
                    continue
        return self.section_of(current).model_validate(current)

    def require_read(self, values: Mapping[str, Any], name: object) -> None:
        """Raise :class:`RecipeError` where the member called ``name`` does not read all values.

        Of values that do not name a member themselves and were checked before: some member reads
        them.
        """
        fields = self.member(name).model_fields
        unread = [key for key in self.current({"name": name, **values}) if key not in fields]
        if unread:
            keys = " and ".join(f"{self.place}.{key}" for key in unread)
            raise RecipeError(
                f"The planned {self.place}.name {name} does not read {keys}; set {self.place}.name "
                f"to one that does, which is {' or '.join(self.readers(unread))}."
            )

    def keep_readable(self, values: Mapping[str, Any], name: object) -> dict[str, Any]:
        """Return ``values`` without what other members read and the one called ``name`` does not.

        Keys that no member knows stay, so that they are found and named.
        """
        fields = self.member(name).model_fields
        return {
            key: value
            for key, value in self.current({"name": name, **values}).items()
            if key in fields or not self.readers([key])
        }
