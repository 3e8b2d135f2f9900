// The engine in a few lines: load a model, submit two requests, read their tokens.
//     vigil_example MODEL.gguf "Once upon a time"
#include <exception>
#include <iostream>

#include "runtime/engine.h"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: vigil_example MODEL PROMPT\n";
        return 2;
    }
    try {
        vigil::Engine engine = vigil::Engine::load(argv[1], {});

        vigil::Request request;
        request.prompt = engine.tokenizer().encode(argv[2]);
        request.max_new_tokens = 32;
        request.sampling.seed = 1;
        vigil::Request greedy = request;
        greedy.sampling.temperature = 0;

        // Both are on their way now; they run in this order.
        vigil::Generation sampled_answer = engine.submit(request);
        vigil::Generation greedy_answer = engine.submit(greedy);
        for (vigil::Generation* answer : {&sampled_answer, &greedy_answer}) {
            while (const auto token = answer->next()) std::cout << token->text << std::flush;
            std::cout << "\n" << answer->error();
            std::cerr << answer->statistics().tokens_per_second() << " tokens/s\n";
        }
    } catch (const std::exception& error) {
        std::cerr << "vigil_example: " << error.what() << "\n";
        return 1;
    }
}
