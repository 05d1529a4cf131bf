"""What a recipe says about itself: read from its file without running it."""

import pytest

from focalnet_d2.config.lazy import RecipeError, load_recipe, recipe_to_yaml
from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef, read_recipe_info

HEAD = "from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef\n\n"


@pytest.fixture
def recipe(tmp_path):
    """A function that writes a recipe with this text and gives its path."""

    def write(text: str):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + text, encoding="utf-8")
        return path

    return write


def test_reads_literals_and_runs_nothing(recipe):
    path = recipe(
        "_about = RecipeInfo(\n"
        '    source="a paper", start=WeightRef(recipe="other"), expected={"bbox/AP": 50.0}, num_gpus=4,\n'
        "    evaluation_only=True,\n"
        ")\n"
        'raise SystemExit("this recipe was run")\n'
    )
    assert read_recipe_info(path) == RecipeInfo(
        source="a paper",
        start=WeightRef(recipe="other"),
        expected={"bbox/AP": 50.0},
        num_gpus=4,
        evaluation_only=True,
    )


def test_recipe_without_facts_works(tmp_path):
    shipped = load_recipe("dino_focalnet_mini_quickstart")
    names = ("model", "dataloader", "optimizer", "lr_multiplier", "train")
    text = "".join(f"{name} = {dict(a=1)!r}\n" for name in names)
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(recipe_to_yaml(shipped), encoding="utf-8")
    assert sorted(load_recipe(tmp_path / "mine.py")) == sorted(names)
    assert read_recipe_info(tmp_path / "mine.py") == read_recipe_info(tmp_path / "mine.yaml") == RecipeInfo()


def test_facts_are_no_key_of_the_recipe(recipe):
    names = ("model", "dataloader", "optimizer", "lr_multiplier", "train")
    path = recipe('_about = RecipeInfo(source="x")\n' + "".join(f"{name} = dict(a=1)\n" for name in names))
    assert sorted(load_recipe(path)) == sorted(names)
    assert read_recipe_info(path).source == "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('NAME = "a paper"\n_about = RecipeInfo(source=NAME)\n', "Line 4 .*literal arguments by keyword"),
        ('_about = RecipeInfo("a paper")\n', "Line 3 .*by its name"),
        ('_about = RecipeInfo(sauce="a paper")\n', "Line 3 .*sauce"),
        ('_about = RecipeInfo(**{"source": "x"})\n', "Line 3 .*keyword"),
        ('_about = {"source": "a paper"}\n', "Line 3 .*is not a call of RecipeInfo"),
        ('_about = RecipeInfo(start=RecipeInfo(source="x"))\n', "Line 3 .*is not a call of WeightRef"),
        ("_about = RecipeInfo(start=WeightRef())\n", "Line 3 .*exactly one of file, recipe and unpublished, not 0"),
    ],
)
def test_facts_that_are_not_written_out_are_refused_in_one_sentence(recipe, text, reason):
    with pytest.raises(RecipeError, match=reason) as error:
        read_recipe_info(recipe(text))
    assert str(error.value).endswith(").")
    assert "\n" not in str(error.value)


def test_a_start_is_one_thing_and_says_it():
    with pytest.raises(ValueError, match="not 2"):
        WeightRef(file="a.pth", recipe="b")
    assert str(WeightRef(file="a.pth")) == "a.pth"
    assert str(WeightRef(recipe="b")) == "the weights of b"
    assert str(WeightRef(unpublished="a classifier")) == "a classifier"


def test_arguments_of_the_training_command():
    assert RecipeInfo().train_arguments() == []
    published = RecipeInfo(start=WeightRef(file="a.pth"), num_gpus=8, num_machines=2)
    assert " ".join(published.train_arguments()) == (
        "--num-gpus 8 --num-machines 2 --machine-rank R --dist-url tcp://HOST:PORT train.init_checkpoint=a.pth"
    )
    own = RecipeInfo(start=WeightRef(recipe="b"), settings="model.num_classes=N")
    assert own.train_arguments() == ["model.num_classes=N", "train.init_checkpoint=FILE"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("RecipeInfo(start='x.pth')", "start is 'x.pth'"),
        ("RecipeInfo(num_gpus='2')", "num_gpus is '2'"),
        ("RecipeInfo(expected=[1])", r"expected is \[1\]"),
        ("RecipeInfo(source='a', source='b')", "once"),
        ("RecipeInfo(**{'source': 'a'})", "by its name"),
        ("RecipeInfo(source=name)", "name is not a literal"),
        ("RecipeInfo(source=", "is not Python"),
    ],
)
def test_a_malformed_about_is_refused_with_its_reason(tmp_path, value, words):
    (tmp_path / "r.py").write_text(f"_about = {value}\n")
    with pytest.raises(RecipeError, match=words):
        read_recipe_info(tmp_path / "r.py")


def test_an_annotated_about_counts(tmp_path):
    (tmp_path / "r.py").write_text("_about: RecipeInfo = RecipeInfo(source='x')\n")
    assert read_recipe_info(tmp_path / "r.py").source == "x"
