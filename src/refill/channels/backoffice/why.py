"""Why a supplier was chosen or passed over, in the reader's language."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from refill.catalogue.routing import parts_of

WHY: dict[str, Promise] = {
    "preferred": gettext_lazy("a rule prefers it"),
    "reliable": gettext_lazy("the others fail more often in this hour"),
    "priority": gettext_lazy("a person put it first"),
    "cheapest": gettext_lazy("it takes less than the next"),
    "quickest": gettext_lazy("it delivers sooner than the next"),
    "fuller": gettext_lazy("our float there holds more"),
    "same": gettext_lazy("nothing tells it from the next"),
    "only": gettext_lazy("nobody else can be asked"),
    "probe": gettext_lazy("one order tries whether it is well again"),
    "off": gettext_lazy("switched off or not connected"),
    "never": gettext_lazy("a rule excludes it"),
    "others": gettext_lazy("a rule says only others"),
    "maintenance": gettext_lazy("it announced a pause"),
    "open": gettext_lazy("it failed too often"),
    "tried": gettext_lazy("it refused this order as often as allowed"),
    "rests": gettext_lazy("it refused this order a moment ago"),
    "empty": gettext_lazy("our float there is empty"),
    "low": gettext_lazy("our float there holds too little"),
    "full": gettext_lazy("it has as many calls as it may"),
    "pace": gettext_lazy("it had as many orders in this second as it may"),
    "rule": gettext_lazy("a rule holds such orders back"),
    "nobody": gettext_lazy("nobody can be asked now"),
    "switched_off": gettext_lazy("the operator is switched off"),
}


def why(text: str) -> str:
    """A choice in the reader's words: "it takes less than the next; northtel: it failed too often"."""
    word, passed = parts_of(text)
    if word == "rule":
        return f"{WHY['rule']}: {passed[0][0] if passed else ''}"
    said = [str(WHY.get(word, word))]
    said += [f"{name}: {WHY.get(no, no)}" for name, no in passed]
    return "; ".join(said)
