"""When a class's largest component alone is kept."""

from ulite_monai.planning.ensemble_bundle import choose_largest
from ulite_monai.reports.metrics import LabelMetrics


def rows(label, *dice):
    return [LabelMetrics(f"case_{n}", label, "both", one, None, None, None, None) for n, one in enumerate(dice)]


def test_it_is_kept_where_it_raised_the_pooled_dice_alone():
    before = rows("liver", 0.9, 0.8) + rows("lesion", 0.7, 0.6) + rows("spleen", 0.9, 0.9) + rows("absent", None, None)
    after = rows("liver", 0.95, 0.8) + rows("lesion", 0.9, 0.2) + rows("spleen", 0.9, 0.9) + rows("absent", None, None)
    chosen, keep = choose_largest(before, after, ["liver", "lesion", "spleen", "absent"])
    assert keep == [1]
    assert [row.dice for row in chosen] == [0.95, 0.8, 0.7, 0.6, 0.9, 0.9, None, None]
