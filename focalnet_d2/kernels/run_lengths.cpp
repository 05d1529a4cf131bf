// COCO's compressed run lengths of masks whose pixels lie row after row, without turning them around: the runs go down
// the columns and end where a pixel differs from the one above it, so rows are compared, many pixels at a time.

#include <cstdint>
#include <vector>

namespace {

constexpr int64_t STEP = 64;  // pixels that are looked at together

inline bool differ(const uint8_t* a, const uint8_t* b) {
    uint8_t any = 0;
    for (int64_t i = 0; i < STEP; ++i) any |= a[i] ^ b[i];
    return any;
}

// Writes a run as characters of five bits, the lowest first; `out` has room for seven.
inline uint8_t* write(int64_t number, uint8_t* out) {
    for (bool more = true; more;) {
        uint8_t bits = number & 31;
        number >>= 5;
        more = bits & 16 ? number != -1 : number != 0;
        *out++ = (more ? bits | 32 : bits) + 48;
    }
    return out;
}

// Places (column, row) where runs end, in the order of the columns.
class Ends {
public:
    Ends(int64_t height, int64_t width) : height(height), of_column(width + 1) {}

    // mask: (height, width) bytes 0 or 1.
    void find(const uint8_t* mask, int64_t width) {
        count = 0;
        make_room(width);
        uint8_t before = 0;  // the pixel that comes before the first of a column: the last of the one before it
        const uint8_t* bottom = mask + (height - 1) * width;
        for (int64_t x = 0; x < width; ++x) {
            if (mask[x] != before) found[count++] = {static_cast<int32_t>(x), 0};
            before = bottom[x];
        }
        for (int64_t y = 1; y < height; ++y) {
            const uint8_t *row = mask + y * width, *above = row - width;
            for (int64_t x = 0; x < width; x += STEP) {
                const bool whole = x + STEP <= width;
                if (whole && !differ(row + x, above + x)) continue;
                const int64_t end = whole ? x + STEP : width;
                make_room(STEP);
                for (int64_t i = x; i < end; ++i) {  // without a jump: every place is written, those that count stay
                    found[count] = {static_cast<int32_t>(i), static_cast<int32_t>(y)};
                    count += row[i] ^ above[i];
                }
            }
        }
        sort(width);
    }

    // The text of the runs; returns its end. There is room for `most()` characters.
    uint8_t* write_runs(int64_t pixels, uint8_t* out) const {
        int64_t last = 0, runs[2] = {0, 0};  // the two runs before
        for (std::size_t i = 0; i <= sorted.size(); ++i) {
            const int64_t end = i < sorted.size() ? sorted[i] : pixels, run = end - last;
            out = write(i > 2 ? run - runs[i & 1] : run, out);
            runs[i & 1] = run;
            last = end;
        }
        return out;
    }

    int64_t most() const { return 7 * (static_cast<int64_t>(sorted.size()) + 1); }

private:
    struct Place {
        int32_t column, row;
    };

    void make_room(int64_t more) {
        if (count + more > static_cast<int64_t>(found.size())) found.resize(2 * (count + more));
    }

    // Counts and places: those of a column stay in the order of their rows.
    void sort(int64_t width) {
        of_column.assign(width + 1, 0);
        for (int64_t i = 0; i < count; ++i) ++of_column[found[i].column + 1];
        for (int64_t x = 0; x < width; ++x) of_column[x + 1] += of_column[x];
        sorted.resize(count);
        for (int64_t i = 0; i < count; ++i) sorted[of_column[found[i].column]++] = found[i].column * height + found[i].row;
    }

    const int64_t height;
    int64_t count = 0;
    std::vector<Place> found;  // the first `count` are meant
    std::vector<int64_t> of_column, sorted;
};

}  // namespace

// masks: (count, height, width) bytes 0 or 1. lengths: (count,) characters of each mask, which stand in `text` one mask
// behind the other. Stops at the first mask for which `room` is too small; done: masks that are finished.
extern "C" void encode_masks(const uint8_t* masks, int64_t count, int64_t height, int64_t width, uint8_t* text,
                             int64_t room, int64_t* lengths, int64_t* done) {
    Ends ends(height, width);
    for (*done = 0; *done < count; ++*done) {
        ends.find(masks + *done * height * width, width);
        if (ends.most() > room) return;
        const int64_t length = ends.write_runs(height * width, text) - text;
        lengths[*done] = length;
        text += length;
        room -= length;
    }
}
