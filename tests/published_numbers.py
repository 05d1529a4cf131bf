"""Which recipes there are, and the published numbers of each, written down by hand from the papers' tables.

val2017 or ADE20K's and ImageNet's validation images. Metrics are named as in
`RecipeInfo.expected`.
"""

PUBLISHED: dict[str, dict[str, float]] = {}
WITHOUT_NUMBER: list[str] = []

# DINO

PUBLISHED |= {
    "dino_focalnet_huge": {
        "bbox/AP": 64.0,
        "bbox/AP (test-dev)": 64.1,
        "bbox/AP (TTA)": 64.2,
        "bbox/AP (test-dev, TTA)": 64.4,
    },
    "dino_focalnet_large_fl3_4scale_12ep_detrex": {"bbox/AP": 57.5},
    "dino_focalnet_large_fl3_4scale_36ep_detrex": {"bbox/AP": 58.3},
    "dino_focalnet_large_fl4_4scale_12ep_detrex": {"bbox/AP": 58.0},
    "dino_focalnet_large_fl4_5scale_12ep_detrex": {"bbox/AP": 58.5},
    "dino_focalnet_large_fl4_objects365_to_coco": {"bbox/AP": 63.5},
}
WITHOUT_NUMBER += [
    "dino_focalnet_base_lrf_4scale_12ep_detrex",
    "dino_focalnet_huge_objects365",
    "dino_focalnet_large_fl3_4scale_12ep",
    "dino_focalnet_large_fl4_5scale_12ep",
    "dino_focalnet_large_fl4_5scale_36ep_detrex",
    "dino_focalnet_large_fl4_objects365",
    "dino_focalnet_small_lrf_4scale_12ep_detrex",
    "dino_focalnet_tiny_lrf_4scale_12ep_detrex",
]

# Stable-DINO

PUBLISHED |= {"stable_dino_focalnet_huge": {"bbox/AP": 64.6, "bbox/AP (test-dev)": 64.8}}
WITHOUT_NUMBER += [
    "stable_dino_focalnet_huge_objects365",
    *(f"stable_dino_focalnet_large_{levels}_4scale_12ep" for levels in ("fl3", "fl4")),
    *(f"stable_dino_focalnet_{size}_lrf_4scale_12ep" for size in ("tiny", "small", "base")),
]

# Mask2Former

PUBLISHED |= {
    "mask2former_focalnet_large_fl3_coco_panoptic": {"panoptic_seg/PQ": 57.9, "segm/AP": 48.4, "sem_seg/mIoU": 67.3},
    "mask2former_focalnet_large_fl3_ade20k_semantic": {"sem_seg/mIoU": 57.3, "sem_seg/mIoU (TTA)": 58.5},
}
WITHOUT_NUMBER += [
    "mask2former_focalnet_large_fl4_coco_panoptic",
    "mask2former_focalnet_large_fl4_ade20k_semantic",
    *(f"mask2former_focalnet_large_fl3_{task}" for task in ("ade20k_panoptic", "ade20k_instance", "coco_instance")),
    *(
        f"mask2former_focalnet_{size}_lrf_{task}"
        for size in ("tiny", "small", "base")
        for task in ("coco_panoptic", "coco_instance", "ade20k_semantic")
    ),
]

# Mask R-CNN and Cascade Mask R-CNN

PUBLISHED |= {
    f"mask_rcnn_focalnet_{name}": {"bbox/AP": box, "segm/AP": mask}
    for name, box, mask in (
        ("tiny_srf_1x", 45.9, 41.3),
        ("tiny_srf_3x", 47.6, 42.6),
        ("tiny_lrf_1x", 46.1, 41.5),
        ("tiny_lrf_3x", 48.0, 42.9),
        ("small_srf_1x", 48.0, 42.7),
        ("small_srf_3x", 48.9, 43.6),
        ("small_lrf_1x", 48.3, 43.1),
        ("small_lrf_3x", 49.3, 43.8),
        ("base_srf_1x", 48.8, 43.3),
        ("base_srf_3x", 49.6, 44.1),
        ("base_lrf_1x", 49.0, 43.5),
        ("base_lrf_3x", 49.8, 44.1),
        ("tiny_deeper_srf_1x", 46.8, 41.9),
        ("tiny_deeper_lrf_1x", 46.7, 41.9),
        ("small_deeper_srf_1x", 48.1, 43.1),
        ("small_deeper_lrf_1x", 48.6, 43.3),
        ("base_deeper_srf_1x", 49.6, 44.0),
        ("base_deeper_lrf_1x", 49.9, 44.2),
        ("tiny_deeper_srf_3x", 48.5, 43.3),
        ("small_deeper_srf_3x", 49.2, 43.8),
        ("base_deeper_srf_3x", 50.2, 44.3),
    )
}
PUBLISHED |= {f"cascade_mask_rcnn_focalnet_tiny_{levels}_3x": {"bbox/AP": 51.5} for levels in ("srf", "lrf")}

# ATSS and Sparse R-CNN

PUBLISHED |= {
    "atss_focalnet_tiny_srf_3x": {"bbox/AP": 49.2, "bbox/AP50": 68.1, "bbox/AP75": 54.2},
    "atss_focalnet_tiny_lrf_3x": {"bbox/AP": 49.6, "bbox/AP50": 68.7, "bbox/AP75": 54.5},
    "sparse_rcnn_focalnet_tiny_srf_3x": {"bbox/AP": 49.6, "bbox/AP50": 69.1, "bbox/AP75": 54.2},
    "sparse_rcnn_focalnet_tiny_lrf_3x": {"bbox/AP": 49.9, "bbox/AP50": 69.6, "bbox/AP75": 54.4},
}

# UPerNet

PUBLISHED |= {
    "upernet_focalnet_tiny_srf": {"sem_seg/mIoU": 46.5, "sem_seg/mIoU (TTA)": 47.2},
    "upernet_focalnet_tiny_lrf": {"sem_seg/mIoU": 46.8, "sem_seg/mIoU (TTA)": 47.8},
    "upernet_focalnet_small_srf": {"sem_seg/mIoU": 49.3, "sem_seg/mIoU (TTA)": 50.1},
    "upernet_focalnet_small_lrf": {"sem_seg/mIoU": 49.1, "sem_seg/mIoU (TTA)": 50.1},
    "upernet_focalnet_base_srf": {"sem_seg/mIoU": 50.2, "sem_seg/mIoU (TTA)": 51.1},
    "upernet_focalnet_base_lrf": {"sem_seg/mIoU": 50.5, "sem_seg/mIoU (TTA)": 51.4},
    "upernet_focalnet_tiny_deeper_srf": {"sem_seg/mIoU": 47.4, "sem_seg/mIoU (TTA)": 48.5},
    "upernet_focalnet_small_deeper_srf": {"sem_seg/mIoU": 49.4, "sem_seg/mIoU (TTA)": 50.3},
    "upernet_focalnet_base_deeper_srf": {"sem_seg/mIoU": 51.0, "sem_seg/mIoU (TTA)": 51.9},
}

# Classification

PUBLISHED |= {
    "classifier_focalnet_tiny_srf": {"classification/top1": 82.1},
    "classifier_focalnet_tiny_lrf": {"classification/top1": 82.3},
    "classifier_focalnet_tiny_srf_conv_embed": {"classification/top1": 82.4},
    "classifier_focalnet_small_srf": {"classification/top1": 83.4},
    "classifier_focalnet_small_lrf": {"classification/top1": 83.5},
    "classifier_focalnet_base_srf": {"classification/top1": 83.7},
    "classifier_focalnet_base_lrf": {"classification/top1": 83.9},
    "classifier_focalnet_tiny_iso": {"classification/top1": 74.1},
    "classifier_focalnet_small_iso": {"classification/top1": 80.9},
    "classifier_focalnet_base_iso": {"classification/top1": 82.4},
}
WITHOUT_NUMBER += [
    *(f"classifier_focalnet_{size}_fl{levels}_22k_384" for size in ("large", "xlarge") for levels in (3, 4)),
    *(f"classifier_focalnet_huge_fl{levels}_22k_224" for levels in (3, 4)),
    *(f"classifier_focalnet_{size}_22k_to_1k_{side}" for size in ("base_lrf", "large_fl3") for side in (224, 384)),
]
