"""What a number's first digits tell: whom it was issued to, and where. Hints only, because numbers are ported."""

from typing import Final

CMCC, CUNICOM, CTCC, CBN = "cmcc", "cunicom", "ctcc", "cbn"

# The prefixes issued for people's phones in China; those for things (140 to 144, 146, 148, 149) and satellites are left out.
_ISSUED: Final = {
    CMCC: "134 135 136 137 138 139 147 150 151 152 157 158 159 172 178 182 183 184 187 188 195 197 198",
    CUNICOM: "130 131 132 145 155 156 166 175 176 185 186 196",
    CTCC: "133 153 173 177 180 181 189 190 191 193 199",
    CBN: "192",
}
CHINA: Final = {prefix: operator for operator, prefixes in _ISSUED.items() for prefix in prefixes.split()}

# Sold by virtual operators over another's network: their credit is not the network's, so there is nothing to hint.
VIRTUAL: Final = frozenset(("162", "165", "167", "170", "171"))

# Mobile country and network codes (ITU-T E.212) of the same operators, as look-ups name them.
NETWORKS: Final = {
    network: operator
    for operator, networks in {
        CMCC: "46000 46002 46004 46007 46008",
        CUNICOM: "46001 46006 46009",
        CTCC: "46003 46005 46011",
        CBN: "46015",
    }.items()
    for network in networks.split()
}


def hint(digits: str) -> str | None:
    """The operator that a Chinese number such as "8613800138000" was issued to; None when the prefix does not tell."""
    if not digits.startswith("861") or len(digits) != 13:
        return None
    return CHINA.get(digits[2:5])


def is_virtual(digits: str) -> bool:
    """Whether the prefix belongs to virtual operators (转售)."""
    return digits.startswith("86") and len(digits) == 13 and digits[2:5] in VIRTUAL
