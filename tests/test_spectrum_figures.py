"""spectrum figure: the right data in the right panels, from runs, networks, pictures (S3.31)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_network

from gantools import cli
from gantools.commands import _network_figures, _testbed_figures
from gantools.io import network
from gantools.spectra import figures, grids, plots, testbed_folder, testbed_results, toyset
from gantools.spectra.grids import Profiles
from gantools.spectra.profile import Spectrum, relative_error

ARGS = ("--size", "8", "--divisor", "64", "--every", "2", "--steps", "4", "-q")
FIGURE = ("spectrum", "figure", "-q", "--which")


def run_testbed(which: str, folder: Path, *flags: str) -> Path:
    with pytest.MonkeyPatch.context() as m:
        for figure in ("evolution", "curves"):  # the run's own cost more than the run
            m.setattr(testbed_results, figure, lambda *_: b"")
        assert cli.run(["spectrum", "testbed", which, *ARGS, *flags, "-o", f"{folder}/"]) == 0
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: toys and pink (generators), taught and one (discriminators)."""
    folder = tmp_path_factory.mktemp("runs")
    ways = ("--upsample", "bilinear,zeros", "--spectral-loss", "both")
    run_testbed("generator", folder / "toys", *ways, "--num", "1,2")
    run_testbed(
        "generator", folder / "pink", "--toyset", "pink", "--upsample", "zeros", "--num", "1"
    )
    kinds = ("--discriminator", "avg,blurpool", "--with", "none,sd")
    run_testbed("discriminator", folder / "taught", *kinds, "--num", "2")
    run_testbed("discriminator", folder / "one", "--discriminator", "blurpool", "--num", "1",
            "--with", "none")  # fmt: skip
    return folder


Drawn = Callable[..., Any]


@pytest.fixture
def drawn(gt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drawn:
    """What a grid is given by a command line; the file itself is not drawn."""

    def of(name: str, *argv: object) -> Any:
        given: list[Any] = []
        with monkeypatch.context() as m:
            m.setattr(grids, name, lambda rows, kind, **_: given.append(rows) or b"")
            done = gt(*FIGURE, *argv, "-o", tmp_path / "x.png")
        assert done.code == 0, done.err
        return given[0]

    return of


def spectrum(values: np.ndarray, size: int = 8, average: Any = "mean") -> Spectrum:
    return Spectrum(values, values / 2, values * 2, (size, size), 3, average)


# What panels draw.


def test_a_panel_leaves_dc_out_and_dashes_the_real_s3_3() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    real, other = (spectrum(np.array([1e6, *np.arange(1.0, 6)]) * a) for a in (1, 3))
    ends = plots.draw_profiles(axes, {"real": real, "made": other}, dashed=True)
    lines = axes.get_lines()
    assert [line.get_label() for line in lines[:2]] == ["real", "made"]
    assert [line.get_linestyle() for line in lines[:2]] == ["--", "-"]
    for line, own in zip(lines, (real, other), strict=False):
        assert np.array_equal(line.get_xdata(), own.frequencies[1:])
        assert np.array_equal(line.get_ydata(), own.values[1:])
    assert ends == (0.1, 30)  # a tenth of the smallest, the top of the highest band
    plots.logarithmic([axes], [ends, (0.01, 1)])
    assert axes.get_ylim() == pytest.approx((0.01, 45))


def test_evolutions_are_cut_at_one_s3_3() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    errors = np.array([[9, -3, 0.5, 0.25], [9, 2, np.nan, -0.5]])
    mesh = plots.draw_evolution(axes, [10, 20], errors, np.arange(4) / 4)
    assert np.array_equal(mesh.get_array().reshape(2, 3), [[-1, 0.5, 0.25], [1, 0, -0.5]])  # type: ignore[union-attr]


# Figures of testbeds.


def test_evolution_has_a_row_for_each_run_s3_31_fig_2(made: Path, drawn: Drawn) -> None:
    """Errors as the table has them; the last are those of the pictures that the run kept."""
    rows = drawn("of_evolutions", "evolution", f"Toyset={made}/toys/", made / "pink")
    assert [label for label, _ in rows] == ["Toyset, 1 picture", "Toyset, 2 pictures",
                                            "pink, 1 picture"]  # fmt: skip
    assert [panel.title for panel in rows[1][1]] == ["bilinear", "zeros"]
    assert rows[2][1][0] is None and rows[2][1][1].title == "zeros"
    told = json.loads((made / "toys/results.json").read_text())
    entry = next(e for e in told["configurations"] if (e["name"], e["num"]) == ("zeros", 2))
    panel = rows[1][1][1]
    assert np.array_equal(panel.errors, entry["relative_error"])
    assert list(panel.times) == [2, 4]
    run = testbed_folder.read(made / "toys", "")
    own = next(c for c in run.configurations if (c.name, c.num) == ("zeros", 2))
    spectra = [testbed_folder.spectrum_of(x) for x in (own.pictures, run.targets)]
    assert relative_error(*spectra) == pytest.approx(panel.errors[-1], rel=1e-5)


def test_spectral_loss_has_those_alone_s3_31_fig_3(made: Path, drawn: Drawn) -> None:
    rows = drawn("of_evolutions", "spectral-loss", made / "toys")
    assert [label for label, _ in rows] == ["1 picture", "2 pictures"]
    for _, panels in rows:
        assert [panel.title for panel in panels] == ["bilinear+spectral", "zeros+spectral"]


def test_num_images_of_several_runs_s3_28_fig_9(made: Path, drawn: Drawn) -> None:
    rows = drawn("of_evolutions", "num-images", made / "taught", made / "one")
    assert [label for label, _ in rows] == ["taught, 2 pictures", "one, 1 picture"]
    assert [panel and panel.title for panel in rows[1][1]] == [None, "blurpool", None, None]


def test_what_discriminators_teach_s3_31_fig_5(made: Path, drawn: Drawn) -> None:
    ((label, panels),) = drawn("of_profiles", "disc-spectra", made / "taught")
    assert label == ""
    assert [(panel.title, list(panel.sets)) for panel in panels] == [
        (kind, ["real", kind, f"{kind}+sd"]) for kind in ("avg", "blurpool")
    ]
    real = [pixels for pixels, _ in zip(toyset.official(8), range(2), strict=False)]
    wanted = testbed_folder.spectrum_of(np.stack(real).transpose(0, 3, 1, 2) / 127.5 - 1)
    assert panels[0].sets["real"].values == pytest.approx(wanted.values, rel=1e-4)
    assert panels[0].sets["real"].count == 2


def test_learned_pictures_below_the_real_s3_31_fig_6(made: Path, drawn: Drawn) -> None:
    rows = drawn("of_pictures", "disc-tensors", made / "taught")
    assert [label for label, _ in rows] == ["real", "avg", "blurpool", "avg+sd", "blurpool+sd"]
    real = [pixels for pixels, _ in zip(toyset.official(8), range(2), strict=False)]
    assert np.array_equal(rows[0][1], np.stack(real))
    assert np.shape(rows[1][1]) == (2, 8, 8, 3)


def test_teaser_of_two_runs_s3_31_fig_1(made: Path, drawn: Drawn) -> None:
    cases = drawn("of_cases", "teaser", made / "toys", made / "one")
    assert [case.label for case in cases] == ["G, bilinear", "D, blurpool"]
    first = next(iter(toyset.official(8)))
    assert all(np.array_equal(case.real, first) for case in cases)
    assert [list(case.profiles.sets) for case in cases] == [
        ["real", "G, bilinear"], ["real", "D, blurpool"]
    ]  # fmt: skip


def test_teaser_of_a_picture_s3_31_fig_1(
    gt: Any, drawn: Drawn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both networks learn its middle square; the same picture gives the same figure."""
    for name, value in (("SIZE", 8), ("DIVISOR", 64.0), ("STEPS", 4), ("EVERY", 2)):
        monkeypatch.setattr(_testbed_figures, f"TEASER_{name}", value)
    photo = tmp_path / "photo.png"
    assert gt("spectrum", "toyset", "--num", 1, "--size", 16, "-o", photo).code == 0
    first, second = (drawn("of_cases", "teaser", photo) for _ in range(2))
    assert [case.label for case in first] == ["G, bilinear", "D, blurpool"]
    for one, other in zip(first, second, strict=True):
        assert one.real.shape == (8, 8, 3)
        assert np.array_equal(one.made, other.made)
        assert list(one.evolution.times) == [2, 4]


@pytest.mark.parametrize(
    ("which", "runs", "kind"),
    [
        ("evolution", ("toys", "pink"), "png"),
        ("disc-spectra", ("taught",), "svg"),
        ("disc-tensors", ("taught", "one"), "pdf"),
        ("teaser", ("toys", "one"), "png"),
    ],
)
def test_figures_repeat_to_the_byte(
    which: str, runs: tuple[str, ...], kind: str, gt: Any, made: Path, tmp_path: Path
) -> None:
    names = [tmp_path / f"{i}.{kind}" for i in (1, 2)[: 1 if which == "teaser" else 2]]
    done = gt(*FIGURE, which, *(made / run for run in runs), *(x for n in names for x in ("-o", n)))
    assert done.code == 0, done.err
    found = [name.read_bytes() for name in names]
    assert found[0] == found[-1]
    assert found[0].startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


def test_a_missing_panel_is_told(gt: Any, made: Path, tmp_path: Path) -> None:
    done = gt("spectrum", "figure", "--which", "evolution", made / "toys", "-o", tmp_path / "x.png")
    assert done.code == 0
    assert "--upsample nearest,reshape -o RUN/" in done.err
    assert done.err.count("\n") == 1


def test_an_earlier_run_gets_its_pictures_from_its_command(
    gt: Any, made: Path, tmp_path: Path
) -> None:
    run = run_testbed("generator", tmp_path / "run", "--num", "1", "--upsample", "zeros")
    kept = run / "pictures.safetensors"
    whole = kept.read_bytes()
    asked = (*FIGURE, "evolution", run, "-o", tmp_path / "x.png")
    kept.write_bytes(whole[:-4])
    assert gt(*asked).code == 2
    kept.unlink()
    refused = gt(*asked)
    assert refused.code == 2
    assert "its command again writes it" in refused.err
    run_testbed("generator", run, "--num", "1", "--upsample", "zeros")
    assert kept.read_bytes() == whole
    (run / "results.json").write_bytes((made / "taught/results.json").read_bytes())
    assert "not of one run" in gt(*asked).err


# Figures of trained networks.


def replace_shown(ckpt: network.Checkpoint, images: int) -> network.Checkpoint:
    ckpt.meta["images_shown"] = images
    return ckpt


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks and a picture set of the same size."""
    folder = tmp_path_factory.mktemp("nets")
    for i in (1, 2):
        make_network(folder / f"n{i}.safetensors", seed=i)
    ckpt = network.load(folder / "n2.safetensors")
    ckpt.config["spectral"] = {"kind": "log1p"}
    network.save(folder / "n2.safetensors", ckpt)
    assert cli.run(["spectrum", "toyset", "--num", "3", "--size", "16", "-o", f"{folder}/real/",
                    "-q"]) == 0  # fmt: skip
    return folder


def test_a_panel_for_each_upsampling_s3_31_fig_7(nets: Path, drawn: Drawn) -> None:
    """Its name and its addition stand in the network's file, or in a label."""
    rows = drawn("of_profiles", "upsampling", nets / "real", nets / "n1.safetensors",
                 nets / "n2.safetensors", f"zeros+sd={nets}/real", "--num", 4)  # fmt: skip
    ((_, panels),) = rows
    assert [(panel.title, list(panel.sets)) for panel in panels] == [
        ("bilinear", ["real", "bilinear", "bilinear+sd"]), ("zeros", ["real", "zeros+sd"]),
    ]  # fmt: skip
    assert panels[0].sets["bilinear+sd"].count == 4
    sets = panels[1].sets
    assert np.array_equal(sets["real"].values, sets["zeros+sd"].values)


def test_both_averages_of_the_same_pictures_s3_27(nets: Path, drawn: Drawn) -> None:
    """Jensen: E[log S] <= log E[S] in every bin."""
    ((_, panels),) = drawn("of_profiles", "averages", nets / "real", nets / "n1.safetensors",
                           "--num", 4)  # fmt: skip
    mean, logmean = (panel.sets for panel in panels)
    assert list(mean) == list(logmean) == ["real", "n1.safetensors"]
    for name in mean:
        assert (mean[name].average, logmean[name].average) == ("mean", "logmean")
        assert (logmean[name].values <= mean[name].values * (1 + 1e-9)).all()


def test_samples_of_the_same_seeds_s3_31(nets: Path, gt: Any, drawn: Drawn) -> None:
    rows = drawn("of_pictures", "samples", nets / "real", nets / "n1.safetensors",
                 f"copy={nets}/real", "--num", 2, "--seed", 5)  # fmt: skip
    assert [label for label, _ in rows] == ["real", "n1.safetensors", "copy"]
    assert np.array_equal(rows[0][1], rows[2][1])
    assert np.shape(rows[1][1]) == (2, 16, 16, 3)
    other = drawn("of_pictures", "samples", nets / "real", nets / "n1.safetensors", "--num", 1,
                  "--seed", 5)  # fmt: skip
    assert np.array_equal(other[1][1], rows[1][1][:1])
    refused = gt(*FIGURE, "samples", nets / "real", nets / "n1.safetensors", "--num", 41, "-o",
                 "x.png")  # fmt: skip
    assert refused.code == 2 and "room for 40" in refused.err


@pytest.mark.parametrize("which", ["fine-tune", "methods"])
def test_before_and_after_s3_24(
    which: str, gt: Any, nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(plots, "of_profiles", lambda *args: given.append(args) or b"")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("network-000001", "network-000002"):
        (folder / f"{name}.safetensors").symlink_to(nets / "n2.safetensors")
    profile = tmp_path / "before.json"
    asked = ("--num", 4, "-q")
    told = gt("spectrum", "profile", "--net", nets / "n1.safetensors", *asked, "-o", profile)
    assert told.code == 0
    first = nets / "n1.safetensors" if which == "methods" else profile
    done = gt("spectrum", "figure", "--which", which, nets / "real", first, folder, *asked, "-o",
              tmp_path / "x.svg")  # fmt: skip
    assert done.code == 0, done.err
    sets, kind, errors = given[0]
    names = ["before", "after"] if which == "fine-tune" else ["original", "sd"]
    assert (list(sets), kind) == (["real", *names], "svg")
    assert errors[names[0]] == pytest.approx(sets[names[0]].values / sets["real"].values - 1)


def test_trainings_side_by_side_s3_3(nets: Path, gt: Any, drawn: Drawn, tmp_path: Path) -> None:
    """What spectrum evolution wrote, under its unit of time."""
    for i in (1, 2):
        ckpt = network.load(nets / f"n{i}.safetensors")
        network.save(tmp_path / f"{i}.safetensors", replace_shown(ckpt, i * 1000))
    out = tmp_path / "a.json"
    asked = (tmp_path / "1.safetensors", tmp_path / "2.safetensors", "--num", 3, "-q", "-o", out)
    assert gt("spectrum", "evolution", nets / "real", *asked).code == 0
    ((label, panels),) = drawn("of_evolutions", "trainings", out, f"b={out}")
    assert (label, [panel.title for panel in panels]) == ("", ["a", "b"])
    told = json.loads(out.read_text())
    assert np.array_equal(panels[0].errors, told["relative_error"])
    assert list(panels[1].times) == [1, 2]
    told["unit"] = "number in the name"
    (tmp_path / "c.json").write_text(json.dumps(told))
    told["time"].pop()
    (tmp_path / "d.json").write_text(json.dumps(told))
    for name, why in (("c.json", "times of several kinds"), ("d.json", "no x.json of")):
        refused = gt(*FIGURE, "trainings", out, tmp_path / name, "-o", tmp_path / "x.png")
        assert refused.code == 2 and why in refused.err


# What is refused: one line, before any work.


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("evolution",), "name a run of gantools spectrum testbed generator [PICTURES] -o RUN/"),
        (("teaser",), "name a picture, or a run"),
        (("evolution", "nix"), "no such run folder; gantools spectrum testbed generator"),
        (("evolution", "{runs}"), "no run of spectrum testbed; gantools spectrum testbed"),
        (("evolution", "{runs}/taught"), "this figure is of generators"),
        (("spectral-loss", "{runs}/pink"), "--spectral-loss both -o RUN/"),
        (("disc-tensors", "{runs}/toys"), "this figure is of discriminators"),
        (("num-images", "{runs}/pink"), "--num 1,5,10 -o RUN/"),
        (("num-images", "{runs}/toys", "{runs}/one"), "this figure is of generators"),
        (("teaser", "{runs}/toys"), "testbed discriminator PICTURE --num 1 --discriminator blurp"),
        (("teaser", "{runs}/pink", "{runs}/one"), "nothing of bilinear with one picture"),
        (("teaser", "nix.png"), "nix.png: no such file"),
        (("evolution", "{runs}/toys", "--num", "3"), "not for --which evolution"),
        (("evolution", "{runs}/toys", "--average", "mean"), "not for --which evolution"),
        (
            ("averages", "{nets}/real", "{nets}/n1.safetensors", "--average", "mean"),
            "not for --which",
        ),
        (("upsampling", "{nets}/real"), "REFERENCE NETWORK...; gantools train pggan"),
        (("fine-tune", "{nets}/real", "{nets}/n1.safetensors"), "REFERENCE BEFORE AFTER"),
        (("methods", "{nets}/real", "nix"), "nix: no such file"),
        (("methods", "{nets}/real", "a={nets}/real", "a={nets}/real"), "two sets are called a"),
        (("methods", "{nets}/real", "real={nets}/real"), "two sets are called real"),
    ],
)
def test_refusals(
    argv: tuple[str, ...], told: str, gt: Any, made: Path, nets: Path, tmp_path: Path
) -> None:
    filled = [word.format(runs=made, nets=nets) for word in argv]
    refused = gt(*FIGURE, *filled, "-o", tmp_path / "x.png")
    assert refused.code == 2
    assert told in refused.err
    assert refused.err.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("output", [(), ("-o", "x.json"), ("-o", "-"), ("-o", "x.jpg")])
def test_a_figure_is_a_picture(output: tuple[str, ...], gt: Any, made: Path) -> None:
    refused = gt(*FIGURE, "evolution", made / "toys", *output)
    assert refused.code == 2
    assert "x.png, x.svg or x.pdf" in refused.err


def test_labels_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that has an = and is there is a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert _network_figures.operand("a=b") == _network_figures.Operand(None, "a=b")
    assert _network_figures.operand("x=a=b") == _network_figures.Operand("x", "a=b")
    assert _network_figures.operand("=b") == _network_figures.Operand(None, "=b")
    assert _network_figures.operand("run/").name == "run"


def test_grids_wrap_and_leave_cells_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label stays where its row's first panel is missing; every panel has one scale."""
    assert grids.wrapped([1, 2, 3], 2) == [("", [1, 2]), ("", [3])]
    kept: list[Any] = []
    monkeypatch.setattr(grids, "encoded", lambda drawn, kind: kept.append(drawn) or b"")
    low, high = (
        Profiles(name, {"real": spectrum(np.arange(1.0, 7) * a)})
        for name, a in (("l", 1), ("h", 9))
    )
    grids.of_profiles([("one", [low, None]), ("other", [None, high])], "png")
    cells = kept[0].axes
    assert [axes.get_title() for axes in cells] == ["l", "", "", "h"]
    assert [axes.get_ylabel() for axes in cells] == ["one", "", "other", ""]
    assert cells[0].get_ylim() == cells[3].get_ylim() == pytest.approx((0.2, 162))


def drawn_boxes(drawn: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The figure's own box, and that of a part of it when it is drawn, both in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return drawn.bbox, lambda part: part.get_window_extent(canvas.get_renderer())


def holds(outer: Any, inner: Any) -> bool:
    return (outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0
            and inner.y1 <= outer.y1)  # fmt: skip


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Figures in the place of their bytes."""
    found: list[Any] = []
    for module in (grids, plots):
        monkeypatch.setattr(module, "encoded", lambda drawn, kind: found.append(drawn) or b"")
    return found


@pytest.mark.parametrize("count", [2, 24, 60])
def test_names_of_many_lines_hide_none_s3_3(count: int, kept: list[Any]) -> None:
    """Right of the axes, all on the figure; colours come again in another style."""
    from matplotlib.colors import to_rgba

    courses = {f"blurpool+sd-cnn-ft, {i} pictures": ([1.0, 2.0], [1.0, i]) for i in range(count)}
    plots.of_courses(courses, "PSNR", "png")
    (drawn,) = kept
    (axes,) = drawn.axes
    legend = axes.get_legend() if count == 2 else drawn.legends[0]
    whole, box = drawn_boxes(drawn)
    assert len(legend.get_texts()) == count and holds(whole, box(legend))
    assert box(legend).overlaps(box(axes)) == (count == 2)
    looks = {(to_rgba(line.get_color()), line.get_linestyle()) for line in axes.get_lines()}
    assert len(looks) == min(count, 30)


def test_names_below_a_panel_of_many_lines_s3_31(kept: list[Any]) -> None:
    sets = {name: spectrum(np.arange(1.0, 7)) for name in ("real", "avg", "avg+sd", "avg+sd-ft")}
    rows = [(f"run {i}", [Profiles("avg", sets), Profiles("one", {"real": sets["real"]})])
            for i in range(2)]  # fmt: skip
    grids.of_profiles(rows, "png")
    whole, box = drawn_boxes(kept[0])
    many = [box(axes.get_legend()) for axes in kept[0].axes[::2]]
    for legend in many:
        assert holds(whole, legend)
        assert not any(legend.overlaps(box(axes)) for axes in kept[0].axes)
    few = kept[0].axes[1]
    assert few.get_legend().get_window_extent().overlaps(box(few))


def test_long_labels_of_pictures_are_whole_s3_31_fig_6(kept: list[Any]) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    labels = ("real", "blurpool+sd-cnn-ft", "WWWWWWWWWW $10 mm")
    grids.of_pictures([(label, [picture] * 2) for label in labels], "png")
    whole, box = drawn_boxes(kept[0])
    for row in range(len(labels)):
        (label,) = kept[0].axes[3 * row].texts
        assert holds(whole, box(label))
        assert not box(label).overlaps(box(kept[0].axes[3 * row + 1].images[0]))


def test_evolutions_have_frequencies_below_each_column_s3_31(kept: list[Any]) -> None:
    """Where its last panel is missing too; the bar of colours is one row high."""
    own = grids.Evolution("zeros", [1, 2, 3], np.zeros((3, 6)), np.arange(6) / 6)
    grids.of_evolutions([("a", [own, own, own]), ("b", [own, None, own]), ("c", [own])], "png")
    *cells, bar = kept[0].axes
    _, box = drawn_boxes(kept[0])
    labelled = [axes.axison and axes.xaxis.get_tick_params()["labelbottom"] for axes in cells]
    assert labelled == [False, True, False, False, False, True, True, False, False]
    assert box(bar).height < 1.5 * box(cells[0]).height


def test_the_papers_panels_are_those_of_the_testbeds() -> None:
    assert figures.TEASER["generator"] in _testbed_figures.PANELS["evolution"]
    assert figures.TEASER["discriminator"] in _testbed_figures.PANELS["disc-spectra"]
