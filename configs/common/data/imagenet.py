"""ImageNet-1K at 224 pixels; test images 256 on the shorter side, then the centre.

A recipe for another size changes `dataloader.test.mapper.transform.size`; training follows.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.data.catalog import get_classification_dataset_dicts
from focalnet_d2.data.classification_transforms import ImageNetAugmentation, center_crop
from focalnet_d2.data.loader import build_test_loader, build_train_loader
from focalnet_d2.data.mappers import ClassificationMapper
from focalnet_d2.evaluation.classification import ClassificationEvaluator

dataloader = dict(
    train=L(build_train_loader)(
        dataset=L(get_classification_dataset_dicts)(names="imagenet_train"),
        mapper=L(ClassificationMapper)(
            transform=L(ImageNetAugmentation)(
                size="${....test.mapper.transform.size}",
                auto_augment="rand-m9-mstd0.5-inc1",
                color_jitter=0.4,
                erase_prob=0.25,
            ),
            image_format="RGB",
        ),
        total_batch_size=1024,
        num_workers=8,
        seed="${...train.seed}",
    ),
    test=L(build_test_loader)(
        dataset=L(get_classification_dataset_dicts)(names="imagenet_val"),
        mapper=L(ClassificationMapper)(transform=L(center_crop)(size=224, crop_ratio=0.875), image_format="RGB"),
        num_workers=8,
        batch_size=64,
    ),
    evaluator=L(ClassificationEvaluator)(
        dataset_name="${..test.dataset.names}", output_dir="${...train.output_dir}", first_classes=None
    ),
)
