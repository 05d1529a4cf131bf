"""What the columns of packed dataset dicts are, for whoever writes and reads them.

image_ids (N,) or image_id_texts    of the images in the order of their ids
file_names, heights, widths (N,)
first (N + 1,), order (M,)          annotations of image i: order[first[i]:first[i + 1]], in the order of the file
classes, flags (M,)                 contiguous class, and the flags below
boxes (4 M,)                        XYWH in pixels
polygon_starts (M + 1,), lengths    how many numbers each polygon has; those of annotation i are
                                    lengths[polygon_starts[i]:polygon_starts[i + 1]]
number_starts (M,), numbers         place of the first number of an annotation, and all numbers of polygons
whole, whole_in_boxes               a bit for each number: whether it is written without a point
odd (K,), odd_texts                 annotations with run lengths or keypoints, as JSON; they have no polygons here
"""

FORMAT = 1  # of the columns; another one is another cache

HAS_CROWD, CROWD, NO_BOX, HAS_MASK, ODD = 1, 2, 4, 8, 16  # has iscrowd; it is 1; boxes.NO_AREA; has a mask; see odd
BITS = 8  # numbers of a chunk of annotations are a multiple of it, so that their bits fill bytes
BYTES_KEY = "ascii"  # odd text: compressed run lengths that are bytes and no text
