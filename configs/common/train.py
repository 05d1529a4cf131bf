"""Settings of the training loop.

`train` has those of the published DINO runs, `mask2former_train` of Mask2Former's, `mm_train` of mmdetection's (12
epochs of 117,266 images with objects at batch 16), `rcnn_train` of its R-CNNs, `upernet_train` of mmsegmentation's,
`imagenet_train` of the classifiers'.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.engine.accumulation import ModelTotals

train = dict(
    init_checkpoint="",  # weights to start from or to evaluate, any known layout; "" = random
    weights_entry="",  # entry of that file that holds the weights, where there are several
    allow_nonfinite=False,  # True: load weights that are NaN or infinite, too
    new_classes=False,  # True: the checkpoint may have another list of classes
    other_class_names="refuse",  # a checkpoint to evaluate with other class names: refuse, by_name or by_position
    keep_settings=False,  # True: load in spite of settings that no shape shows and that differ
    backbone_only=False,  # True: take the FocalNet alone, also from the file of another model
    output_dir="",  # "" = output/<name of the recipe>
    device="auto",  # cuda, mps or cpu
    seed=0,
    epochs=0,  # of the training images, 0 = max_iter counts; a share of one is allowed, here and below
    max_iter=90_000,
    warmup_epochs=0,  # in which the learning rate rises; 0 = warmup counts
    warmup=None,  # iterations; None = as lr_multiplier says
    amp="off",  # bf16 or fp16: training and evaluation; auto: training on CUDA; off
    ema=dict(enabled=False, decay=0.9997),
    clip_norm=0.1,  # of all gradients together; 0 = none
    freeze=[],  # modules or parameters that do not learn: [backbone], ["*.norm*"], ...
    class_weights="",  # of the class losses: auto (rarer classes weigh more), [1,2,...] or {name:2}; "" = all alike
    parallel="ddp",  # several processes: ddp, or fsdp (weights and optimizer state cut into one part each)
    batch=None,  # auto, or a size such as 24GB: sets accumulation and use_checkpoint so that a batch fits into memory
    accumulation=1,  # parts in which a batch goes through the model
    microbatch_weights=L(ModelTotals)(),  # the losses of the parts add up to those of the batch
    checkpoint_epochs=0,  # 0 = checkpoint_period counts
    checkpoint_period=5000,  # iterations; 0 = only at the end
    keep_checkpoints=3,  # 0 = all
    eval_epochs=0,  # 0 = eval_period counts
    eval_period=5000,  # iterations; 0 = only at the end
    best_metric="bbox/AP",  # of model_best.pth
    patience=0,  # evaluations in a row without a better one that end the run; 0 = none do
    validation_loss=False,  # True: evaluations also give the losses on the test data
    validation_loss_images=0,  # at most, from all over the test data; 0 = all
    also_with_nms=0,  # --eval-only: a second evaluation with suppression at this IoU, where the model has it; 0 = none
    test_time_augmentation=dict(enabled=False, wrapper=None),  # wrapper: what evaluation puts around the model
    log_period=20,
    loggers=["tensorboard"],  # beside metrics.json: csv, tensorboard, wandb, mlflow
    report=True,  # write report.html at the end of the training
    sample_predictions=8,  # test images that every evaluation draws beside their truth; 0 = none
    skip_nonfinite=0,  # steps in a row that may be left out because a loss or a gradient is not finite
)

mask2former_train = {**train, "amp": "auto", "clip_norm": 0.01, "best_metric": "panoptic_seg/PQ"}
mm_train = {**train, "amp": "auto", "clip_norm": 0.0, "max_iter": 87_960}
rcnn_train = mm_train
upernet_train = {
    **train,
    "clip_norm": 0.0,
    "max_iter": 160_000,
    "best_metric": "sem_seg/mIoU",
}
imagenet_train = {
    **train,
    "amp": "auto",
    "clip_norm": 5.0,
    "max_iter": 375_300,  # 300 epochs of 1,281,167 images at batch 1024, the rest of each epoch left out
    "best_metric": "classification/top1",
}
