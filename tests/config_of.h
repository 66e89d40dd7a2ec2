/* A model's config by value, for tests that read a field of it. */
#ifndef CONFIG_OF_H
#define CONFIG_OF_H
static inline vae_config config_of(const vae_model *model) {
    vae_config config;
    vae_get_config(model, &config);
    return config;
}
#endif
