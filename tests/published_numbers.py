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

# ATSS and Sparse R-CNN

# UPerNet

# Classification
