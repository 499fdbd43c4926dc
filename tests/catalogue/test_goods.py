"""Bundles told in a few words, initials for operators without a drawing, and goods that no amount alone finds."""

import pytest

from refill.catalogue.goods import Bundle, initials
from refill.catalogue.offers import Catalogue, Operator, Product, Supply
from refill.catalogue.prices import Cost, Listed
from refill.errors import NotForSale
from refill.money import Money, money


@pytest.mark.parametrize(
    ("bundle", "zh", "en"),
    [
        (Bundle(5 * 1024, None, None, 720), "5 GB · 30 天", "5 GB · 30 days"),
        (Bundle(1536, 100, 1, 24), "1.5 GB · 100 分钟 · 1 条短信 · 1 天", "1.5 GB · 100 minutes · 1 text · 1 day"),
        (Bundle(500, 0, None, 36), "500 MB · 不限通话 · 36 小时", "500 MB · unlimited calls · 36 hours"),
        (Bundle(0), "不限流量", "unlimited data"),
        (Bundle(), "", ""),
    ],
)
def test_a_bundle_is_told_in_a_few_words(bundle: Bundle, zh: str, en: str) -> None:
    assert (bundle.words_zh(), bundle.words_en()) == (zh, en)


def test_an_operator_without_a_drawing_has_initials() -> None:
    assert initials("中国移动", "China Mobile") == ("移", "CM")
    assert initials("", "Vodafone") == ("V", "VO")


def test_ten_yuan_of_data_are_not_ten_yuan_of_credit() -> None:
    ten = money("10 CNY")
    network = Operator("op", "网", "Net", "CN", "CNY", False, "#334155", True)
    data = Product("op-data", "op", "fixed", ten, ten, 990, 10_000, 0, "never", "data", bundle=Bundle(1024))
    catalogue = Catalogue(1, {"op": network}, {"op": (data,)}, {"op": (Supply("op", None, "northtel", None, 9_000),)})
    with pytest.raises(NotForSale):
        catalogue.quote("op", ten)
    assert catalogue.quote("op", ten, product="op-data").price == money("9.90 CNY")
    assert (catalogue.offers("op")[0].category, catalogue.offers("op")[0].bundle.words_en()) == ("data", "1 GB")


def test_an_entry_of_our_product_counts_before_its_face_value_and_the_dearer_of_two() -> None:
    def cost(product: str, minor: int) -> Cost:
        return Cost(product, 1000, None, "CNY", minor, None, "CNY")

    listed = Listed([cost("", 900), cost("", 910), cost("", 905), cost("op-data", 700)])
    ten = money("10 CNY")
    assert listed.cost("op-10", ten, by_face=True) == Money(910, "CNY")
    assert listed.cost("op-data", ten, by_face=False) == Money(700, "CNY")
    assert listed.cost("op-other", ten, by_face=False) is None
