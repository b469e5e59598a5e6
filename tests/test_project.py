"""gantools project from the command line: pictures to latents, latents to other spaces, --paste."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result, make_network

from gantools.commands import _paste
from gantools.io import image
from gantools.io import network as files
from gantools.io.latent import Latent
from gantools.latents.render import images
from gantools.networks.network import open_network
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError, Usage

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16x16 network that knows its framing."""
    path = make_network(tmp_path_factory.mktemp("project") / "tiny.safetensors")
    ckpt = files.load(path)
    ckpt.meta["crop"] |= {"spread": [0.05] * 4, "count": 10}
    out = path.with_name("framed.safetensors")
    files.save(out, ckpt)
    return out


@pytest.fixture(scope="module")
def photos(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of the network's own, 16x16."""
    folder = tmp_path_factory.mktemp("photos")
    network = open_network(str(net))
    z = torch.randn(3, network.g.cfg.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pixels = to_uint8(network.g.synthesis(network.g.mapping(z)) / 3)
    for name, x in zip("abc", pixels, strict=True):
        (folder / f"{name}.png").write_bytes(image.encode(x))
    return folder


def latents_of(stream: bytes) -> dict[str, Latent]:
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        found = {}
        for member in archive:
            key = member.name.removesuffix(".safetensors")
            found[key] = Latent.from_bytes(archive.extractfile(member).read(), key)
        return found


def quick(gt: Run, net: Path, *argv: object, stdin: bytes = b"") -> Result:
    return gt("project", "--net", net, "--steps", 3, *argv, stdin=stdin)


def test_pictures_become_a_stream_of_latents(gt: Run, net: Path, photos: Path) -> None:
    result = quick(gt, net, photos)
    assert (result.code, result.err) == (0, "")
    latents = latents_of(result.out)
    assert list(latents) == ["a", "b", "c"]
    header = latents["b"].header
    assert latents["b"].space == "w+" and latents["b"].tensors["w"].shape == (6, 16)
    assert header["network"] == {"name": "framed", "id": files.load(net).meta["id"]}
    assert header["crop"]["size"] == 16 and header["crop"]["source"] == [16, 16]
    assert header["crop"]["quad"] == [[0, 0], [0, 16], [16, 16], [16, 0]]
    story = header["projection"]
    assert (story["method"], story["steps"], story["perceptual"]) == ("quick", 3, "discriminator")
    assert story["init"] == "mean" and story["lr"] > 0
    assert {"loss", "psnr", "ssim", "distance"} <= set(story)
    assert header["history"][-1]["command"] == "project"
    assert str(photos) not in str(header)


def test_the_same_command_gives_the_same_bytes(gt: Run, net: Path, photos: Path) -> None:
    argv = ("--space", "nw+", "--init", "random", photos)
    first, again = quick(gt, net, *argv), quick(gt, net, *argv)
    other = quick(gt, net, "--seed", 1, *argv)
    assert first.out == again.out != other.out


def test_batch_and_shard_change_nothing(gt: Run, net: Path, photos: Path) -> None:
    """Each image its own result, independent of its neighbours."""
    argv = ("--method", "stylegan2", photos)
    together = latents_of(quick(gt, net, *argv).out)
    alone = latents_of(quick(gt, net, "--batch", 1, *argv).out)
    shard = latents_of(quick(gt, net, "--shard", "1/2", *argv).out)
    assert list(shard) == ["b"]
    for latent in [*alone.values(), *shard.values()]:
        for name, value in latent.tensors.items():
            np.testing.assert_allclose(value, together[latent.key].tensors[name], atol=1e-3)


@pytest.mark.parametrize(
    ("method", "space", "settings"),
    [
        ("stylegan2", "nw", {"mse_weight": 0.0, "noise_reg": 1e5, "prior_weight": 0.0}),
        ("thesis", "nw+", {"mse_weight": 0.25, "noise_reg": 4e5, "noise_rule": "thesis"}),
        ("i2s", "w+", {"lr": 0.01, "mse_weight": 1.0, "prior_weight": 0.0}),
    ],
)
def test_methods_are_the_published_ones(
    gt: Run, net: Path, photos: Path, method: str, space: str, settings: dict[str, Any]
) -> None:
    """S2.12, S4.15; noise maps are saved and normal."""
    result = quick(gt, net, "--method", method, photos / "a.png")
    latent = latents_of(result.out)["a"]
    assert latent.space == space
    assert settings.items() <= latent.header["projection"].items()
    assert len(latent.noise) == (5 if space.startswith("n") else 0)
    for noise in latent.noise.values():
        assert noise.std() == pytest.approx(1, abs=1e-4)


def test_pictures_out_are_what_the_latent_renders(
    gt: Run, net: Path, photos: Path, tmp_path: Path
) -> None:
    quick(gt, net, photos, "-o", f"{tmp_path}/latents/")
    result = quick(gt, net, photos, "-o", f"{tmp_path}/{{}}.png")
    assert result.code == 0
    network = open_network(str(net))
    for key in "abc":
        latent = Latent.from_bytes((tmp_path / f"latents/{key}.safetensors").read_bytes(), key)
        data = (tmp_path / f"{key}.png").read_bytes()
        np.testing.assert_array_equal(image.decode(data), to_uint8(images(network, [latent]))[0])
        assert image.story(data) == latent.story()


def test_bad_pictures_are_lines_and_the_rest_is_done(gt: Run, net: Path, photos: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 60, 3)).astype(np.uint8)
    folder = photos.with_name("bad")
    folder.mkdir()
    (folder / "no-face.png").write_bytes(image.encode(noise))
    (folder / "cut.png").write_bytes((photos / "a.png").read_bytes()[:60])
    result = quick(gt, net, folder, photos / "a.png")
    assert result.code == 1 and list(latents_of(result.out)) == ["a"]
    lines = result.err.splitlines()
    assert len(lines) == 2
    assert "cut.png" in lines[0] and "no-face.png: no face found" in lines[1]
    assert quick(gt, net, "--align", "never", folder / "no-face.png").code == 0


def test_no_clobber_leaves_what_is_there(gt: Run, net: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"mine")
    result = quick(gt, net, photos, "-o", f"{tmp_path}/", "--no-clobber")
    assert result.code == 0
    assert (tmp_path / "b.safetensors").read_bytes() == b"mine"
    assert (tmp_path / "a.safetensors").stat().st_size > 100


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--perceptual", "lpips-vgg"], "weights vgg16"),
        (["--perceptual", "vgg19"], "vgg19_conv1-3_f16.npz (sha256 136f66fa"),
        (["--paste"], "--paste makes pictures"),
        (["--init", "nowhere"], "--init nowhere"),
        (["--perceptual-weight", "0", "--mse-weight", "0"], "nothing is minimised"),
        (["--lr", "nan"], "finite"),
        (["--tune-steps", "3"], "belong to --tune"),
        (["--tune", "copy.pkl"], "--tune copy.pkl: a name that ends in .safetensors"),
        (["--tune", "nowhere/copy.safetensors"], "the folder nowhere does not exist"),
        (["--scale", "2"], "--paste"),
        (["--noise-reg", "1"], "no noise maps"),
        (["--progress-video", "x.txt"], ".mp4"),
        (["--net", "nowhere"], "nowhere: no such network"),
    ],
)
def test_wrong_usage_is_one_line(
    gt: Run, net: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], why: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(photos))
    result = quick(gt, net, photos, *argv)
    assert result.code == 2
    assert why in result.err and len(result.err.splitlines()) == 1


def test_a_diverging_optimisation_is_a_failure_and_no_latent(
    gt: Run, net: Path, photos: Path
) -> None:
    result = quick(gt, net, "--method", "i2s", "--lr", "1e30", photos)
    assert result.code == 1 and result.err.count("lower --lr") == 3
    assert not latents_of(result.out)


# ---------------------------------------------------------------------------- starts


def test_init_from_latents(gt: Run, net: Path, photos: Path, tmp_path: Path) -> None:
    """A file starts all; a folder is looked up by key, and a missing key fails alone."""
    start = f"{tmp_path}/start/"
    gt("project", "--net", net, "--steps", 40, "--space", "w", photos / "a.png", "-o", start)
    before = Latent.from_bytes((tmp_path / "start/a.safetensors").read_bytes(), "a")
    result = quick(gt, net, "--lr", 0, "--init", start, photos)
    assert result.code == 1 and result.err.count("there is no") == 2
    (after,) = latents_of(result.out).values()
    np.testing.assert_array_equal(after.tensors["w"], before.tensors["w"].repeat(6, 0))
    assert after.header["projection"]["init"] == "latent"
    assert after.header["projection"]["psnr"] == before.header["projection"]["psnr"]
    result = quick(gt, net, "--lr", 0, "--init", f"{start}a.safetensors", photos)
    assert result.code == 0 and len(latents_of(result.out)) == 3


def test_a_start_that_is_no_latent_is_said_of_init(gt: Run, net: Path, photos: Path) -> None:
    result = quick(gt, net, "--init", photos / "a.png", photos / "b.png")
    assert result.code == 2 and f"--init {photos / 'a.png'}: not a latent file" in result.err


def test_random_start_is_a_w_of_the_network(gt: Run, net: Path, photos: Path) -> None:
    result = quick(gt, net, "--lr", 0, "--init", "random", photos)
    starts = [latent.tensors["w"] for latent in latents_of(result.out).values()]
    assert all(np.ptp(w, axis=0).max() == 0 for w in starts)  # one w for all layers
    assert np.abs(starts[0] - starts[1]).max() > 0.1


# ---------------------------------------------------------------------------- conversions


def test_latents_are_converted(gt: Run, net: Path) -> None:
    """S2.2 on the command line: z to nw+ and back to w where that is asked for."""
    z = Latent("s", "z", {"z": np.random.default_rng(0).normal(size=16).astype(np.float32)})
    network = open_network(str(net))
    result = gt("project", "--net", net, "--space", "nw+", stdin=_stream(z))
    (made,) = latents_of(result.out).values()
    assert made.space == "nw+" and len(made.noise) == 5
    torch.testing.assert_close(images(network, [z]), images(network, [made]), rtol=0, atol=1e-4)
    refused = gt("project", "--net", net, "--space", "w", stdin=result.out)
    assert refused.code == 1 and "loses the noise maps" in refused.err
    done = gt("project", "--net", net, "--space", "w", "--lossy", stdin=result.out)
    (back,) = latents_of(done.out).values()
    assert done.code == 0 and back.space == "w" and not back.noise
    assert [h["command"] for h in back.header["history"]] == ["project", "project"]


def test_latents_of_another_network_are_refused(gt: Run, net: Path) -> None:
    stranger = Latent("s", "w", {"w": np.zeros((1, 16), np.float32)})
    stranger.header["network"] = {"name": "other", "id": "0" * 64}
    result = gt("project", "--net", net, "--space", "w+", stdin=_stream(stranger))
    assert result.code == 1 and "a latent of network other" in result.err


def _stream(*latents: Latent) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for latent in latents:
            data = latent.to_bytes()
            info = tarfile.TarInfo(f"{latent.key}.safetensors")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# ---------------------------------------------------------------------------- tuning, video


def test_tuning_writes_a_network_that_the_latents_name(
    gt: Run, net: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    plain = latents_of(quick(gt, net, photos).out)
    result = quick(
        gt, net, photos, "--tune", out, "--tune-steps", 30, "--tune-lr", 0.01, "--batch", 2
    )
    assert result.code == 0 and "--net" in result.err
    tuned, base = files.load(out), files.load(net)
    assert tuned.meta["derived_from"] == [base.meta["id"]]
    assert any(name.startswith("d.") for name in tuned.tensors)
    for name in ("mapping.fc0.weight", "mapping.w_avg"):
        np.testing.assert_array_equal(tuned.part("g_ema")[name], base.part("g_ema")[name])
    for key, latent in latents_of(result.out).items():
        assert latent.header["network"] == {"name": "mine", "id": tuned.meta["id"]}
        before, after = plain[key].header["projection"], latent.header["projection"]
        assert after["tuned"] == {"steps": 30, "lr": 0.01}
        assert after["distance"] < before["distance"] and after["psnr"] > before["psnr"]
        np.testing.assert_allclose(latent.tensors["w"], plain[key].tensors["w"], atol=1e-3)
    # The tuned network takes the old latents, the old one not the new.
    assert gt("project", "--net", out, "--space", "w+", stdin=_stream(plain["a"])).code == 0
    assert gt("project", "--net", net, "--space", "w+", stdin=result.out).code == 1


def test_progress_video_shows_target_and_picture(
    gt: Run, net: Path, photos: Path, tmp_path: Path
) -> None:
    import imageio_ffmpeg

    video = tmp_path / "x.mp4"
    assert quick(gt, net, photos, "--batch", 2, "--progress-video", video).code == 0
    raw = ["-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(video), *raw]
    data = subprocess.run(ffmpeg, check=True, stdout=subprocess.PIPE).stdout
    # Two batches of three steps, two rows.
    frames = np.frombuffer(data, np.uint8).reshape(6, 2 * 256, 2 * 256, 3)
    target = image.decode((photos / "a.png").read_bytes()).astype(int)
    shown = frames[0][8:256:16, 8:256:16].astype(int)
    assert np.abs(shown - target).mean() < 12
    assert frames[3][256 + 8 :, :].max() < 40  # the second batch has one picture: black below


# ---------------------------------------------------------------------------- --paste


def test_the_portrait_is_aligned_and_pasted_back(gt: Run, net: Path, tmp_path: Path) -> None:
    """The crop holds the face; outside of it the photograph stays as it was."""
    from matplotlib import cbook

    photo = image.decode(
        Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes()
    )
    result = quick(gt, net, "example:portrait", "--paste", "-o", f"{tmp_path}/whole.png")
    assert result.code == 0, result.err
    data = (tmp_path / "whole.png").read_bytes()
    whole, story = image.decode(data), image.story(data)
    assert whole.shape == photo.shape
    assert story is not None and story["crop"]["source"] == [photo.shape[1], photo.shape[0]]
    quad = np.array(story["crop"]["quad"])
    assert 100 < np.linalg.norm(quad[3] - quad[0]) < 400
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    outside = np.ones(photo.shape[:2], bool)
    outside[max(low[1], 0) : high[1], max(low[0], 0) : high[0]] = False
    np.testing.assert_array_equal(whole[outside], photo[outside])
    assert np.abs(whole.astype(int) - photo)[~outside].mean() > 5


def test_paste_enlarges(gt: Run, net: Path, photos: Path, tmp_path: Path) -> None:
    argv = (photos / "a.png", "--paste", "--scale", 3, "-o", f"{tmp_path}/x.png")
    assert quick(gt, net, *argv).code == 0
    assert image.decode((tmp_path / "x.png").read_bytes()).shape == (48, 48, 3)


def crop_latent(key: str = "p/a", source: tuple[int, int] = (40, 30)) -> Latent:
    quad = [[10, 5], [10, 25], [30, 25], [30, 5]]
    return Latent(key, "w", {}, {"crop": {"quad": quad, "size": 16, "source": list(source)}})


def test_paste_back_finds_the_photograph_by_its_key(tmp_path: Path) -> None:
    """What edit uses: one photograph, a folder, and the frames of a photograph."""
    (tmp_path / "p").mkdir()
    photo = np.full((30, 40, 3), 200, np.uint8)
    (tmp_path / "p" / "a.jpg.png").write_bytes(image.encode(photo))
    (tmp_path / "p" / "a.png").write_bytes(image.encode(photo))
    black = np.zeros((16, 16, 3), np.uint8)
    for where in (tmp_path, tmp_path / "p" / "a.png"):
        for key in ("p/a", "p/a/0007"):
            whole = _paste.paste_back(crop_latent(key), black, str(where))
            assert whole.shape == photo.shape
            assert whole[15, 20].max() == 0 and whole[2, 2].min() == 200
    assert _paste.paste_back(crop_latent(), black, str(tmp_path), scale=2).shape == (60, 80, 3)
    with pytest.raises(SampleError, match="no photograph of the key q"):
        _paste.paste_back(crop_latent("q"), black, str(tmp_path))
    with pytest.raises(SampleError, match="is 40x30, the photograph that was projected 50x30"):
        _paste.paste_back(crop_latent(source=(50, 30)), black, str(tmp_path))
    with pytest.raises(SampleError, match="no place in a photograph"):
        _paste.paste_back(Latent("p/a", "w", {}), black, str(tmp_path))
    with pytest.raises(Usage, match="no such photograph"):
        _paste.paste_back(crop_latent(), black, str(tmp_path / "gone"))
