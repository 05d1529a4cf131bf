"""Names and shapes of the official DINO state dicts, for models of any size.

The golden DINO cases store no list of names; this one is checked against the manifests of the real sizes.
`official_dino_names` returns {name: (shape, canonical name)}: shared tensors appear under several names and take
their values from the canonical one.
"""

HIDDEN, HEADS, POINTS = 256, 8, 4


def official_dino_names(case: dict) -> dict[str, tuple[tuple[int, ...], str]]:
    """Every entry of the state dict of a case of `dino/cases.json`, in the layout the case names."""
    return {"focalnet_dino": _focalnet_dino, "detrex": _detrex, "stable_dino": _stable_dino}[case["layout"]](case)


def focalnet_names(config: dict, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes of a FocalNet with one output norm for each of `out_indices`."""
    width, conv = config["embed_dim"], config["use_conv_embed"]
    shapes = _conv("patch_embed.proj", width, 3, 7 if conv else 4) | _norm("patch_embed.norm", width)
    for stage, depth in enumerate(config["depths"]):
        dim = width * 2**stage
        for block in range(depth):
            shapes |= _focalnet_block(f"layers.{stage}.blocks.{block}", dim, stage, config)
        if stage + 1 < len(config["depths"]):
            shapes |= _conv(f"layers.{stage}.downsample.proj", 2 * dim, dim, 3 if conv else 2)
            shapes |= _norm(f"layers.{stage}.downsample.norm", 2 * dim)
    for stage in config["out_indices"]:
        shapes |= _norm(f"norm{stage}", width * 2**stage)
    return {prefix + name: shape for name, shape in shapes.items()}


def _focalnet_block(name: str, dim: int, stage: int, config: dict) -> dict:
    levels, window = config["focal_levels"][stage], config["focal_windows"][stage]
    hidden = int(dim * config.get("mlp_ratio", 4.0))
    shapes = _norm(f"{name}.norm1", dim) | _norm(f"{name}.norm2", dim)
    shapes |= _linear(f"{name}.modulation.f", 2 * dim + levels + 1, dim) | _conv(f"{name}.modulation.h", dim, dim, 1)
    for level in range(levels):
        kernel = window + 2 * level
        shapes[f"{name}.modulation.focal_layers.{level}.0.weight"] = (dim, 1, kernel, kernel)
    shapes |= _linear(f"{name}.modulation.proj", dim, dim)
    shapes |= _linear(f"{name}.mlp.fc1", hidden, dim) | _linear(f"{name}.mlp.fc2", dim, hidden)
    if config["use_postln_in_modulation"]:
        shapes |= _norm(f"{name}.modulation.ln", dim)
    if config["use_layerscale"]:
        shapes |= {f"{name}.gamma_1": (dim,), f"{name}.gamma_2": (dim,)}
    return shapes


def _focalnet_dino(case: dict) -> dict:
    shapes = focalnet_names(case["backbone"], "backbone.0.") | _transformer(case)
    maps = [case["backbone"]["embed_dim"] * 2**stage for stage in case["backbone"]["out_indices"]]
    for level in range(case["num_feature_levels"]):
        last = level >= len(maps)
        shapes |= _conv(f"input_proj.{level}.0", HIDDEN, maps[-1] if last else maps[level], 3 if last else 1)
        shapes |= _norm(f"input_proj.{level}.1", HIDDEN)
    classes = case["num_classes"]
    shapes |= _linear("transformer.enc_out_class_embed", classes, HIDDEN) | _box_head("transformer.enc_out_bbox_embed")
    shapes["label_enc.weight"] = (classes + 1, HIDDEN)
    names = {name: (shape, name) for name, shape in shapes.items()}
    for prefix in ("", "transformer.decoder."):
        for layer in range(case["dec_layers"]):
            names |= _aliased(
                _linear("class_embed.0", classes, HIDDEN), "class_embed.0", f"{prefix}class_embed.{layer}"
            )
            names |= _aliased(_box_head("bbox_embed.0"), "bbox_embed.0", f"{prefix}bbox_embed.{layer}")
    return names


def _detrex(case: dict) -> dict:
    stages = case["backbone"].get("out_indices", range(5 - case["num_feature_levels"], 4))
    backbone = {**case["backbone"], "out_indices": tuple(stages)}
    shapes = focalnet_names(backbone, "backbone.")
    renamed = {_detrex_name(name): shape for name, shape in _transformer(case).items()}
    shapes |= renamed
    maps = [backbone["embed_dim"] * 2**stage for stage in stages]
    for level, channels in enumerate(maps):
        shapes |= _conv(f"neck.convs.{level}.conv", HIDDEN, channels, 1) | _norm(f"neck.convs.{level}.norm", HIDDEN)
    shapes |= _conv("neck.extra_convs.0.conv", HIDDEN, maps[-1], 3) | _norm("neck.extra_convs.0.norm", HIDDEN)
    shapes["label_enc.weight"] = (case["num_classes"], HIDDEN)
    names = {name: (shape, name) for name, shape in shapes.items()}
    for layer in range(case["dec_layers"] + 1):  # the last one belongs to the encoder
        for head, entries in (
            (f"class_embed.{layer}", _linear(f"class_embed.{layer}", case["num_classes"], HIDDEN)),
            (f"bbox_embed.{layer}", _box_head(f"bbox_embed.{layer}")),
        ):
            names |= _aliased(entries, head, head) | _aliased(entries, head, f"transformer.decoder.{head}")
    return names


def _stable_dino(case: dict) -> dict:
    """detrex's names and those of the dense fusion."""
    fusion = _linear("transformer.encoder.fusion_layer.0", HIDDEN, HIDDEN * (case["enc_layers"] + 1))
    fusion |= _norm("transformer.encoder.fusion_layer.1", HIDDEN)
    return _detrex(case) | {name: (shape, name) for name, shape in fusion.items()}


def _detrex_name(name: str) -> str:
    pairs = [("transformer.level_embed", "transformer.level_embeds")]
    if ".encoder." in name:
        pairs += [(".self_attn.", ".attentions.0."), (".norm1.", ".norms.0."), (".norm2.", ".norms.1.")]
    if ".decoder.layers." in name:
        pairs += [(".self_attn.", ".attentions.0.attn."), (".cross_attn.", ".attentions.1.")]
        pairs += [(".norm1.", ".norms.1."), (".norm2.", ".norms.0."), (".norm3.", ".norms.2.")]
    pairs += [(".linear1.", ".ffns.0.layers.0.0."), (".linear2.", ".ffns.0.layers.1.")]
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


def _transformer(case: dict) -> dict:
    levels, feedforward = case["num_feature_levels"], case.get("dim_feedforward", 2048)
    shapes = {"transformer.level_embed": (levels, HIDDEN)}
    for layer in range(case["enc_layers"]):
        name = f"transformer.encoder.layers.{layer}"
        shapes |= _deformable_attention(f"{name}.self_attn", levels) | _feedforward(name, feedforward)
        shapes |= _norm(f"{name}.norm1", HIDDEN) | _norm(f"{name}.norm2", HIDDEN)
    for layer in range(case["dec_layers"]):
        name = f"transformer.decoder.layers.{layer}"
        shapes |= _deformable_attention(f"{name}.cross_attn", levels) | _feedforward(name, feedforward)
        shapes |= {f"{name}.self_attn.in_proj_weight": (3 * HIDDEN, HIDDEN), f"{name}.self_attn.in_proj_bias": (768,)}
        shapes |= _linear(f"{name}.self_attn.out_proj", HIDDEN, HIDDEN)
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{name}.{norm}", HIDDEN)
    shapes |= _norm("transformer.decoder.norm", HIDDEN)
    shapes |= _linear("transformer.decoder.ref_point_head.layers.0", HIDDEN, 2 * HIDDEN)
    shapes |= _linear("transformer.decoder.ref_point_head.layers.1", HIDDEN, HIDDEN)
    shapes["transformer.tgt_embed.weight"] = (case["num_queries"], HIDDEN)
    return shapes | _linear("transformer.enc_output", HIDDEN, HIDDEN) | _norm("transformer.enc_output_norm", HIDDEN)


def _deformable_attention(name: str, levels: int) -> dict:
    shapes = _linear(f"{name}.sampling_offsets", 2 * HEADS * levels * POINTS, HIDDEN)
    shapes |= _linear(f"{name}.attention_weights", HEADS * levels * POINTS, HIDDEN)
    return shapes | _linear(f"{name}.value_proj", HIDDEN, HIDDEN) | _linear(f"{name}.output_proj", HIDDEN, HIDDEN)


def _feedforward(name: str, width: int) -> dict:
    return _linear(f"{name}.linear1", width, HIDDEN) | _linear(f"{name}.linear2", HIDDEN, width)


def _box_head(name: str) -> dict:
    widths = (HIDDEN, HIDDEN, 4)
    return {k: v for i, n in enumerate(widths) for k, v in _linear(f"{name}.layers.{i}", n, HIDDEN).items()}


def _aliased(shapes: dict, canonical: str, alias: str) -> dict:
    return {alias + name.removeprefix(canonical): (shape, name) for name, shape in shapes.items()}


def _linear(name: str, outputs: int, inputs: int) -> dict:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _conv(name: str, outputs: int, inputs: int, kernel: int) -> dict:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def _norm(name: str, dim: int) -> dict:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
