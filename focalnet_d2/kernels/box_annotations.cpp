// COCO annotations that are boxes alone, from JSON to columns. Only what needs no closer look is taken: at anything else
// the whole text is given back, and another reader takes it or says what is wrong.

#include <clocale>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int64_t LARGEST = int64_t(1) << 53;  // whole numbers below it are doubles without loss
constexpr int EXACT_POWERS = 22;               // powers of ten up to this one are doubles without loss
constexpr int LONGEST = 63;                    // characters of a number
const double POWERS[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum Key { ID = 1, IMAGE = 2, CLASS = 4, AREA = 8, BOX = 16, CROWD = 32, MASK = 64, OTHER = 0, CLOSER_LOOK = -1 };
constexpr int NEEDED = ID | IMAGE | CLASS | AREA | BOX;

struct Number {
    double value;
    int64_t whole;
    bool is_whole;
};

struct Reader {
    const char* at;
    const char* end;

    void skip_space() {
        while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    }

    bool take(char mark) {
        if (at == end || *at != mark) return false;
        ++at;
        return true;
    }

    bool take_word(const char* word) {
        const int64_t length = std::strlen(word);
        if (end - at < length || std::memcmp(at, word, length) != 0) return false;
        at += length;
        return true;
    }

    // Text without escapes, of ASCII alone.
    bool text(const char** start, int64_t* length) {
        if (!take('"')) return false;
        *start = at;
        for (; at < end; ++at) {
            const unsigned char letter = *at;
            if (letter == '"') {
                *length = at++ - *start;
                return true;
            }
            if (letter < 32 || letter > 126 || letter == '\\') return false;
        }
        return false;
    }

    bool digits(uint64_t* number, int* count) {
        const char* start = at;
        for (; at < end && *at >= '0' && *at <= '9'; ++at)
            if (++*count <= 18) *number = 10 * *number + (*at - '0');
        return at > start;
    }

    bool number(Number* found) {
        const char* start = at;
        const bool negative = take('-');
        uint64_t mantissa = 0;
        int count = 0, behind = 0, exponent = 0;
        if (at < end && *at == '0') {
            ++at;
        } else if (!digits(&mantissa, &count)) {
            return false;
        }
        const bool has_point = take('.');
        if (has_point) {
            const char* point = at;
            if (!digits(&mantissa, &count)) return false;
            behind = int(at - point);
        }
        const bool has_exponent = at < end && (*at == 'e' || *at == 'E');
        if (has_exponent) {
            ++at;
            const bool is_small = take('-');
            if (!is_small) take('+');
            uint64_t power = 0;
            int length = 0;
            if (!digits(&power, &length) || length > 4) return false;
            exponent = is_small ? -int(power) : int(power);
        }
        if (at == end || at - start > LONGEST) return false;
        found->is_whole = !has_point && !has_exponent;
        if (found->is_whole) {
            if (count > 18 || mantissa >= uint64_t(LARGEST) || (negative && !mantissa)) return false;
            found->whole = negative ? -int64_t(mantissa) : int64_t(mantissa);
            found->value = double(found->whole);
            return true;
        }
        const int power = exponent - behind;
        if (count <= 18 && mantissa < uint64_t(LARGEST) && power >= -EXACT_POWERS && power <= EXACT_POWERS) {
            const double value = double(mantissa);  // one operation of two exact numbers rounds as it should
            found->value = power < 0 ? value / POWERS[-power] : value * POWERS[power];
            if (negative) found->value = -found->value;
            return true;
        }
        char copy[LONGEST + 1];
        std::memcpy(copy, start, at - start);
        copy[at - start] = 0;
        char* stop = nullptr;
        found->value = std::strtod(copy, &stop);
        return stop == copy + (at - start);
    }

    bool whole(int64_t* found) {
        Number one;
        if (!number(&one) || !one.is_whole) return false;
        *found = one.whole;
        return true;
    }

    // Any value without brackets in it.
    bool skip_value() {
        const char* start;
        int64_t length;
        Number one;
        if (at == end) return false;
        if (*at == '"') return text(&start, &length);
        if (*at == 't') return take_word("true");
        if (*at == 'f') return take_word("false");
        if (*at == 'n') return take_word("null");
        return number(&one);
    }

    // A mask that is none.
    bool no_mask() {
        if (take_word("null")) return true;
        if (!take('[')) return false;
        skip_space();
        return take(']');
    }

    bool box(double* numbers, uint8_t* are_whole) {
        if (!take('[')) return false;
        for (int side = 0; side < 4; ++side) {
            Number one;
            skip_space();
            if (side && !take(',')) return false;
            skip_space();
            if (!number(&one)) return false;
            numbers[side] = one.value;
            are_whole[side] = one.is_whole;
        }
        skip_space();
        return take(']');
    }
};

int key_of(const char* text, int64_t length) {
    static const struct { int64_t length; const char* name; int key; } names[] = {
        {2, "id", ID}, {8, "image_id", IMAGE}, {11, "category_id", CLASS}, {4, "area", AREA}, {4, "bbox", BOX},
        {7, "iscrowd", CROWD}, {12, "segmentation", MASK}, {6, "ignore", CLOSER_LOOK}, {9, "keypoints", CLOSER_LOOK},
        {15, "box_has_no_area", CLOSER_LOOK},
    };
    for (const auto& one : names)
        if (one.length == length && std::memcmp(one.name, text, length) == 0) return one.key;
    return OTHER;
}

}  // namespace

// text: objects of a list, without its brackets. Columns of `most` annotations: whole are ids, images, classes and
// crowds (0, 1, or 2 for none), doubles areas and boxes (most, 4), and of the boxes which numbers have no point.
// count: how many there are; -1 where one needs a closer look, or there are more than `most`.
extern "C" void read_boxes(const char* text, int64_t size, int64_t most, int64_t* ids, int64_t* images,
                           int64_t* classes, uint8_t* crowds, double* areas, double* boxes, uint8_t* whole,
                           int64_t* count) {
    Reader reader{text, text + size};
    *count = -1;
    if (std::strcmp(std::localeconv()->decimal_point, ".") != 0) return;  // strtod would read another
    int64_t found = 0;
    do {
        reader.skip_space();
        if (found == most || !reader.take('{')) return;
        int seen = 0;
        crowds[found] = 2;
        do {
            const char* name;
            int64_t length, crowd = 0;
            Number area{};
            reader.skip_space();
            if (!reader.text(&name, &length)) return;
            const int key = key_of(name, length);
            if (key == CLOSER_LOOK || (seen & key)) return;
            seen |= key;
            reader.skip_space();
            if (!reader.take(':')) return;
            reader.skip_space();
            bool good = false;
            switch (key) {
                case ID: good = reader.whole(ids + found); break;
                case IMAGE: good = reader.whole(images + found); break;
                case CLASS: good = reader.whole(classes + found); break;
                case AREA: good = reader.number(&area); areas[found] = area.value; break;
                case BOX: good = reader.box(boxes + 4 * found, whole + 4 * found); break;
                case CROWD: good = reader.whole(&crowd) && (crowd == 0 || crowd == 1); crowds[found] = crowd; break;
                case MASK: good = reader.no_mask(); break;
                default: good = reader.skip_value();
            }
            if (!good) return;
            reader.skip_space();
        } while (reader.take(','));
        if (!reader.take('}') || (seen & NEEDED) != NEEDED) return;
        ++found;
        reader.skip_space();
    } while (reader.take(','));
    if (reader.at == reader.end) *count = found;
}
