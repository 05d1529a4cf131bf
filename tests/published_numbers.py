"""Which recipes there are, and the published numbers of each, written down by hand from the papers' tables.

val2017 or ADE20K's and ImageNet's validation images. Where a recipe has two mIoU, the second one is at several scales.
"""

PUBLISHED: dict[str, list[str]] = {}
WITHOUT_NUMBER: list[str] = []

# DINO

PUBLISHED |= {
    "dino_focalnet_huge": ["AP 64.0"],
    "dino_focalnet_large_fl3_4scale_12ep_detrex": ["AP 57.5"],
    "dino_focalnet_large_fl3_4scale_36ep_detrex": ["AP 58.3"],
    "dino_focalnet_large_fl4_4scale_12ep_detrex": ["AP 58.0"],
    "dino_focalnet_large_fl4_5scale_12ep_detrex": ["AP 58.5"],
    "dino_focalnet_large_fl4_objects365_to_coco": ["AP 63.5"],
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

# Mask2Former

PUBLISHED |= {
    "mask2former_focalnet_large_fl3_coco_panoptic": ["PQ 57.9", "AP 48.4", "mIoU 67.3"],
    "mask2former_focalnet_large_fl3_ade20k_semantic": ["mIoU 57.3", "mIoU 58.5"],
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
    f"mask_rcnn_focalnet_{name}": [f"box AP {box}", f"mask AP {mask}"]
    for name, box, mask in (
        ("tiny_srf_1x", "45.9", "41.3"),
        ("tiny_srf_3x", "47.6", "42.6"),
        ("tiny_lrf_1x", "46.1", "41.5"),
        ("tiny_lrf_3x", "48.0", "42.9"),
        ("small_srf_1x", "48.0", "42.7"),
        ("small_srf_3x", "48.9", "43.6"),
        ("small_lrf_1x", "48.3", "43.1"),
        ("small_lrf_3x", "49.3", "43.8"),
        ("base_srf_1x", "48.8", "43.3"),
        ("base_srf_3x", "49.6", "44.1"),
        ("base_lrf_1x", "49.0", "43.5"),
        ("base_lrf_3x", "49.8", "44.1"),
        ("tiny_deeper_srf_1x", "46.8", "41.9"),
        ("tiny_deeper_lrf_1x", "46.7", "41.9"),
        ("small_deeper_srf_1x", "48.1", "43.1"),
        ("small_deeper_lrf_1x", "48.6", "43.3"),
        ("base_deeper_srf_1x", "49.6", "44.0"),
        ("base_deeper_lrf_1x", "49.9", "44.2"),
        ("tiny_deeper_srf_3x", "48.5", "43.3"),
        ("small_deeper_srf_3x", "49.2", "43.8"),
        ("base_deeper_srf_3x", "50.2", "44.3"),
    )
}
PUBLISHED |= {f"cascade_mask_rcnn_focalnet_tiny_{levels}_3x": ["box AP 51.5"] for levels in ("srf", "lrf")}

# ATSS and Sparse R-CNN

PUBLISHED |= {
    "atss_focalnet_tiny_srf_3x": ["AP 49.2", "AP50 68.1", "AP75 54.2"],
    "atss_focalnet_tiny_lrf_3x": ["AP 49.6", "AP50 68.7", "AP75 54.5"],
    "sparse_rcnn_focalnet_tiny_srf_3x": ["AP 49.6", "AP50 69.1", "AP75 54.2"],
    "sparse_rcnn_focalnet_tiny_lrf_3x": ["AP 49.9", "AP50 69.6", "AP75 54.4"],
}

# UPerNet

PUBLISHED |= {
    "upernet_focalnet_tiny_srf": ["mIoU 46.5", "mIoU 47.2"],
    "upernet_focalnet_tiny_lrf": ["mIoU 46.8", "mIoU 47.8"],
    "upernet_focalnet_small_srf": ["mIoU 49.3", "mIoU 50.1"],
    "upernet_focalnet_small_lrf": ["mIoU 49.1", "mIoU 50.1"],
    "upernet_focalnet_base_srf": ["mIoU 50.2", "mIoU 51.1"],
    "upernet_focalnet_base_lrf": ["mIoU 50.5", "mIoU 51.4"],
    "upernet_focalnet_tiny_deeper_srf": ["mIoU 47.4", "mIoU 48.5"],
    "upernet_focalnet_small_deeper_srf": ["mIoU 49.4", "mIoU 50.3"],
    "upernet_focalnet_base_deeper_srf": ["mIoU 51.0", "mIoU 51.9"],
}

# Classification

PUBLISHED |= {
    "classifier_focalnet_tiny_srf": ["top-1 82.1"],
    "classifier_focalnet_tiny_lrf": ["top-1 82.3"],
    "classifier_focalnet_tiny_srf_conv_embed": ["top-1 82.4"],
    "classifier_focalnet_small_srf": ["top-1 83.4"],
    "classifier_focalnet_small_lrf": ["top-1 83.5"],
    "classifier_focalnet_base_srf": ["top-1 83.7"],
    "classifier_focalnet_base_lrf": ["top-1 83.9"],
    "classifier_focalnet_tiny_iso": ["top-1 74.1"],
    "classifier_focalnet_small_iso": ["top-1 80.9"],
    "classifier_focalnet_base_iso": ["top-1 82.4"],
}
WITHOUT_NUMBER += [
    *(f"classifier_focalnet_{size}_fl{levels}_22k_384" for size in ("large", "xlarge") for levels in (3, 4)),
    *(f"classifier_focalnet_huge_fl{levels}_22k_224" for levels in (3, 4)),
    *(f"classifier_focalnet_{size}_22k_to_1k_{side}" for size in ("base_lrf", "large_fl3") for side in (224, 384)),
]
