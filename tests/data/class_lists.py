"""Class lists for property tests: ids as tools write them, names, things and stuff."""

from hypothesis import strategies as st

from focalnet_d2.data.class_map import ClassMap, class_map

NAMES = ("person", "car", "truck", "bus", "traffic light", "Dog", "sea", "sky", "wall", "été")

_numbers = st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=len(NAMES))
ids = st.one_of(
    st.integers(1, len(NAMES)).flatmap(lambda count: st.sampled_from([range(count), range(1, count + 1)])).map(list),
    _numbers.map(sorted),
    _numbers,  # shuffled, with gaps
    st.lists(st.text("abc0_ ", min_size=1, max_size=4), unique=True, min_size=1, max_size=len(NAMES)),
)


@st.composite
def class_maps(draw: st.DrawFn) -> ClassMap:
    """Ids of every kind, each with a name, things and stuff mixed."""
    chosen = draw(ids)
    names = draw(st.permutations(NAMES))[: len(chosen)]
    things = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    return class_map(chosen, names, things=things)
