/* auc.h - how well scores tell anomalies from normal rows. */
#ifndef AUC_H
#define AUC_H

#include <stdlib.h>

typedef struct scored { double score; int anomaly; } scored;

static inline int by_score(const void *a, const void *b) {
    const double x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x > y) - (x < y);
}

/* The chance that an anomaly scores higher than a normal row: the area under the ROC curve. */
static inline double auc(scored *each, size_t count) {
    double anomalies = 0, normals = 0, below = 0;
    size_t i, j;
    qsort(each, count, sizeof *each, by_score);
    for (i = 0; i < count; i = j) {
        double more = 0, more_normals = 0;
        for (j = i; j < count && !(each[j].score > each[i].score); j++) {
            more += each[j].anomaly;
            more_normals += !each[j].anomaly;
        }
        below += more * (normals + more_normals / 2);
        anomalies += more;
        normals += more_normals;
    }
    return below / (anomalies * normals);
}

#endif
