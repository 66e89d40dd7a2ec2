/* No array of a model's memory runs into the next one: random networks with the options of test_combinations.c and
   sizes down to 1 train, and go through every call, in the copy of vae.h that tests/gaps.py makes.
     python3 tests/gaps.py FOLDER && cc -O1 -g -fsanitize=address,undefined FOLDER/tests/gaps.c -o FOLDER/gaps -lm
     FOLDER/gaps [MODELS]     Exit status: 0 where AddressSanitizer has found nothing. */
#define main combinations
#include "test_combinations.c"
#undef main

enum { MOST_ROWS = 64, MOST_SIZE = 32, LEAST_CALLS = 40 };

static vae_real      given[MOST_ROWS * MOST_SIZE], scored[MOST_ROWS * MOST_SIZE], z[MOST_ROWS * 4];
static vae_real      first[MOST_ROWS * MOST_SIZE], second[MOST_ROWS * MOST_SIZE];
static unsigned char mask[MOST_ROWS * MOST_SIZE];
static int           classes[MOST_ROWS];
static long          calls;         /* that the models could serve */

static void count(vae_status status) { calls += status == VAE_OK; }

static vae_real pixel(int may_miss) {
    return may_miss && !draw(5) ? (vae_real)NAN : (vae_real)draw(256) / 255;
}

static vae_data draw_rows(const vae_config *c, size_t rows) {
    vae_data     data;
    const size_t size = (size_t)c->input.height * (size_t)c->input.width * (size_t)c->input.channels;
    size_t       i;
    for (i = 0; i < rows * size; i++) {
        given[i] = pixel(c->missing);
        scored[i] = pixel(c->missing);
        mask[i] = (unsigned char)(draw(3) > 0);
    }
    for (i = 0; i < rows; i++) classes[i] = draw(3) - (!c->classes && !draw(3));
    for (i = 0; i < rows; i++) if (classes[i] < -1) classes[i] = -1;
    memset(&data, 0, sizeof data);
    data.pixels = given;
    data.count = rows;
    if (c->targets && draw(2)) data.targets = scored;
    if (c->missing && draw(2)) data.mask = mask;
    if (c->classes || c->classifier[0].kind != VAE_LAYER_END) data.labels = classes;
    return data;
}

/* Every call for inference, with fewer rows than a turn takes and with more. */
static void infer(vae_model *model, const vae_config *c) {
    static vae_wide     each[MOST_ROWS * MOST_SIZE];
    static vae_terms    terms[MOST_ROWS];
    vae_dimension       dimensions[4];
    vae_latents         latents;
    const size_t        counts[] = { 1, 3, 13 };
    size_t              turn, i;
    for (turn = 0; turn < 3; turn++) {
        const size_t      rows = counts[turn];
        const vae_data    data = draw_rows(c, rows);
        vae_score_config  score;
        vae_sample_config how;
        memset(&score, 0, sizeof score);
        memset(&how, 0, sizeof how);
        how.kind = VAE_SAMPLE_DRAW;
        count(vae_encode(model, &data, first, c->objective == VAE_OBJECTIVE_AUTOENCODER ? NULL : second, &problem));
        count(vae_reconstruct(model, &data, first, &problem));
        count(vae_classify(model, &data, first, &problem));
        count(vae_elbo(model, &data, NULL, terms, &problem));
        count(vae_log_likelihood(model, &data, (size_t)(1 + draw(9)), NULL, each, &problem));
        count(vae_impute(model, &data, (size_t)(1 + draw(9)), first, draw(2) ? second : NULL, &problem));
        count(vae_latent_statistics(model, &data, dimensions, NULL, &problem));
        for (i = 0; i < 5; i++) {
            score.kind = (vae_score_kind)i;
            count(vae_score(model, &data, &score, each, &problem));
            count(vae_score_numbers(model, &data, &score, each, &problem));
        }
        for (i = 0; i < rows * (size_t)c->latent; i++) z[i] = (vae_real)draw(3);
        for (i = 0; i < rows; i++) classes[i] = draw(3);
        latents.z = z;
        latents.count = rows;
        latents.labels = c->classes ? classes : NULL;
        count(vae_decode(model, &latents, first, &problem));
        count(vae_draw(model, &latents, first, &problem));
        count(vae_sample(model, rows, first, &problem));
        count(vae_sample_with(model, rows, &how, first, &problem));
        count(vae_sample_latent(model, rows, first, &problem));
    }
}

static void teach(vae_model *model, const vae_config *c) {
    vae_data       data = draw_rows(c, 13);
    vae_fit_config fit;
    vae_share      share;
    memset(&fit, 0, sizeof fit);
    fit.epochs = 2;
    fit.output_bias_from_data = draw(2) && c->freeze != VAE_FREEZE_DECODER;
    if (c->keep_best) fit.validation = &data;
    count(vae_fit(model, &data, &fit, &problem));
    data = draw_rows(c, c->batch);
    count(vae_train_step(model, &data, NULL, &problem));
    share.first = 2;
    share.total = 2 + 2 * c->batch;
    count(vae_accumulate_gradients(model, &data, &share, NULL, &problem));
    share.first += c->batch;
    count(vae_accumulate_gradients(model, &data, &share, NULL, &problem));
    count(vae_apply_gradients(model, &problem));
}

static void draw_network(vae_config *c) {
    int i, side;
    memset(c, 0, sizeof *c);
    side = draw(3) ? 4 : 1;
    c->input.height = 1 + draw(side);
    c->input.width = 1 + draw(side);
    c->input.channels = 1 + draw(2);
    c->latent = 1 + draw(3);
    c->batch = (size_t)(1 + draw(draw(2) ? 3 : 40));
    c->threads = 1;
    for (i = 0; i < CHOICES; i++) {
        drawn[i] = i == 0 || !draw(4) ? draw(choices[i].values) : 0;
        if (choices[i].set != set_decoder) choices[i].set(c, drawn[i]);
        else if (drawn[i]) {
            c->decoder[0] = VAE_DENSE(1 + draw(5), VAE_TANH);
            c->decoder[1] = VAE_DENSE(c->input.height * c->input.width * c->input.channels * drawn[i], VAE_LINEAR);
        }
    }
    c->encoder[0].shape.channels = 1 + draw(5);
    if (c->encoder[0].kind == VAE_LAYER_CONV) {
        c->encoder[0].kernel_height = 1 + draw(4);
        c->encoder[0].kernel_width = 1 + draw(4);
        c->encoder[0].stride_height = 1 + draw(3);
        c->encoder[0].stride_width = 1 + draw(3);
        if (!draw(3)) c->encoder[1] = VAE_CONV(1 + draw(3), 1 + draw(3), 1 + draw(2), VAE_RELU);
    }
    if (!draw(3)) c->objective = VAE_OBJECTIVE_IWAE;
    c->samples = (size_t)(draw(2) ? 0 : draw(2) ? 1 : 1 + draw(5));
    c->part = (vae_part)(draw(3) ? 0 : draw(4));
    c->layout = (vae_layout)draw(3);
    c->inference_only = !draw(4);
    if (draw(2)) {
        c->threads = 1 + draw(5);
        c->parallel.run = run_backwards;
    }
}

int main(int argc, char **argv) {
    const int wanted = argc > 1 ? atoi(argv[1]) : 600;
    int       models = 0;
    while (models < wanted) {
        vae_config config, changes;
        vae_model *model = NULL, *view = NULL;
        draw_network(&config);
        if (vae_create(&config, &model, &problem) != VAE_OK) continue;
        models++;
        if (model->plan.trains) teach(model, &config);
        infer(model, &config);
        memset(&changes, 0, sizeof changes);
        changes.batch = (size_t)(1 + draw(5));
        changes.threads = 1 + draw(4);
        changes.parallel.run = run_backwards;
        if (vae_create_view(model, &changes, &view, &problem) == VAE_OK) infer(view, &config);
        vae_destroy(view);
        vae_destroy(model);
    }
    printf("%d models, %ld calls that they served\n", models, calls);
    return calls < (long)models * LEAST_CALLS;
}
