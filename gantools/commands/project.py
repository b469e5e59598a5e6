"""gantools project: photographs to latents, latents to other spaces (papers.md S2.2, S2.12)."""

from __future__ import annotations

from gantools import options, report
from gantools.commands import _project_options as own
from gantools.commands._label_options import LabelColumn, check_column
from gantools.commands._paste import NO_PICTURES, Scale


def project(
    operands: options.Operands = None,
    into: own.Space = None,
    method: own.MethodName = None,
    steps: own.Steps = None,
    lr: own.Lr = None,
    perceptual: own.PerceptualName = None,
    perceptual_weight: own.PerceptualWeight = None,
    mse_weight: own.MseWeight = None,
    ssim_weight: own.SsimWeight = None,
    prior_weight: own.PriorWeight = None,
    dist_weight: own.DistWeight = None,
    noise_reg: own.NoiseReg = None,
    style_smooth: own.StyleSmooth = None,
    style_radius: own.StyleRadius = None,
    style_cells: own.StyleCells = None,
    style_falloff: own.StyleFalloff = None,
    init: own.Init = None,
    label: own.ClassName = None,
    labels: own.Labels = None,
    label_column: LabelColumn = None,
    psi: own.Psi = None,
    size: own.PictureSize = None,
    align: own.AlignMode = own.Align.auto,
    paste: own.Paste = False,
    scale: Scale = 1,
    tune: own.Tune = None,
    tune_steps: own.TuneSteps = None,
    tune_lr: own.TuneLr = None,
    progress_video: own.ProgressVideo = None,
    lossy: own.Lossy = False,
    figure: own.FigureName = None,
    tsa: own.TsaName = None,
    output: options.Output = None,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 8,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the latents of pictures, by optimisation or encoders; convert latents between spaces.

    A picture that is not framed as the network's training pictures were is aligned first. Each
    latent records its settings, its last loss, PSNR, SSIM and perceptual distance.

    $ gantools project photo.jpg | gantools edit --dir age -o older.png

    $ gantools project photos/ --space nw+ --steps 1000 -o latents/ --no-clobber

    $ gantools project face.safetensors --space fnw+5 -o features.safetensors

    $ gantools project photos/ --space fnw+5 --method thesis --dist-weight 1 -o latents/

    $ gantools project group.jpg --space fnw+5 --size faces | gantools edit --dir age -o older.png

    $ gantools project photos/ --method encoder --init run/ -o encoded/

    $ gantools project photos/ --method dse-finetune --init run/ -o tuned/

    $ gantools project photos/ --figure methods --method encoder,hybrid,dse-finetune -o sheet.png

    $ gantools project ship.png --net classes.safetensors --class ship -o ship.safetensors

    $ gantools project cifar/ --net classes.safetensors --labels folders -o latents/

    $ gantools project photo.jpg --paste --scale 2 -o back.png
    """
    report.begin("project", quiet=quiet)
    if dtype != options.Dtype.fp32 and tune:
        raise report.Usage("--tune works in fp32: leave --dtype out")
    if not tune and (tune_steps is not None or tune_lr is not None):
        raise report.Usage("--tune-steps and --tune-lr belong to --tune OUT.safetensors")
    if scale != 1 and not paste:
        raise report.Usage("--scale goes with --paste")
    if figure is None and method is not None and "," in method:
        raise report.Usage(f"--method {method}: several stand on a sheet: give --figure methods")
    if tsa is not None and figure is not own.Figure.areas:
        raise report.Usage("--tsa goes with --figure areas")
    if label is not None and labels is not None:
        raise report.Usage("--class is for all pictures, --labels for each one's own: give one")
    check_column(labels, label_column)
    from gantools.commands import _film, _project
    from gantools.commands._project_setup import Given, Wishes
    from gantools.io import classes
    from gantools.io.sink import open_sink
    from gantools.io.source import samples

    changes = {
        "steps": steps,
        "lr": lr,
        "perceptual": perceptual_weight,
        "mse": mse_weight,
        "ssim": ssim_weight,
        "prior": prior_weight,
        "dist": dist_weight,
        "noise_reg": noise_reg,
        "style_smooth": style_smooth,
        "style_radius": style_radius,
        "style_cells": style_cells,
        "style_falloff": style_falloff,
    }
    wishes = Wishes(
        space=into,
        method=method,
        changes={name: value for name, value in changes.items() if value is not None},
        perceptual=perceptual and perceptual.value,
        init=init,
        align=align.value,
        size=own.parse_picture_size(size),
        lossy=lossy,
        seed=seed,
        batch=batch,
        paste=scale if paste else None,
        label=label,
        labels=None if labels is None else classes.read(labels, label_column, operands or ["-"]),
        filmed=progress_video is not None,
        psi=psi,
        tune=(tune, tune_steps or 350, 3e-4 if tune_lr is None else tune_lr) if tune else None,
    )
    if figure is not None:
        from gantools.commands import _project_figures as sheets

        rows = sheets.variants(figure.value, wishes)
        with open_sink(output, own="image", no_clobber=no_clobber) as sink:
            found = samples(operands, kinds=("image",), shard=shard)
            options.set_threads(threads)
            given = Given(net, options.pick_device(device), dtype.value)
            sheets.put(figure.value, rows, given, found, sink, tsa.value if tsa else "centre")
        return
    with open_sink(output, own="latent", no_clobber=no_clobber) as sink:
        if paste and sink.kind == "latent":
            raise report.Usage(NO_PICTURES)
        found = samples(operands, shard=shard)
        options.set_threads(threads)
        with _film.Film(progress_video) as film:
            given = Given(net, options.pick_device(device), dtype.value)
            run = _project.Run(wishes, sink, film, given)
            run.all(found)
