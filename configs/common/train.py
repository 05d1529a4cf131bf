"""Settings of the training loop; those of the published DINO runs where they name one."""

from detectron2.config import LazyCall as L

from focalnet_d2.engine.accumulation import ObjectWeights

train = dict(
    init_checkpoint="",  # weights to start from or to evaluate, any known layout; "" = random
    new_classes=False,  # True: the checkpoint may have another list of classes
    keep_settings=False,  # True: load in spite of settings that no shape shows and that differ
    output_dir="",  # "" = output/<name of the recipe>
    device="auto",  # cuda, mps or cpu
    seed=0,
    max_iter=90_000,
    amp="off",  # off, auto, bf16, fp16
    ema=dict(enabled=False, decay=0.9997),
    clip_norm=0.1,  # of all gradients together; 0 = none
    accumulation=1,  # parts in which a batch goes through the model
    part_weights=L(ObjectWeights)(),
    checkpoint_period=5000,  # iterations; 0 = only at the end
    keep_checkpoints=3,  # 0 = all
    eval_period=5000,  # iterations; 0 = only at the end
    best_metric="bbox/AP",
    log_period=20,
)
