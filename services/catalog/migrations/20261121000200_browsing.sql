-- migrate:up
SET LOCAL lock_timeout = '5s';

-- How texts become words, for what is stored and for what is asked alike: lower case, "ё" as "е", without what stands
-- in words unseen (soft hyphens, accents, joiners), parted by whatever is neither letter nor digit. So no query has an
-- operator, and "AV-1001" is the words "av" and "1001". One character may become eighteen here (NFKC): texts are cut
-- where that makes them longer than any other, words where a lexeme's 2046 bytes come near.
CREATE FUNCTION words_of(text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(
    SELECT left(word, 100)
      FROM regexp_split_to_table(
               regexp_replace(
                   translate(lower(left(normalize($1, NFKC), 25000)), 'ё', 'е'),
                   '[\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff]+', '', 'g'),
               '[^[:alnum:]]+') AS word
     WHERE word <> ''
);

-- Stems of words: this configuration has Russian rules for Cyrillic words and English ones for Latin words. Those take
-- "зеркало" and "кровать" for verbs, but "зеркалу" and "кровати" for nouns: what such words have after "л", or "т", is
-- taken away before, or made the "ь" of the infinitive. ("е" after "ил" stays: "стиле" is of "стиль".)
CREATE FUNCTION stems_of(words text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN tsvector_to_array(to_tsvector('pg_catalog.russian', regexp_replace(regexp_replace(
    array_to_string(words, ' '),
    '(?<=[ая]л)е\M|(?<=[аяи]л)(?:о|а|у|ы|ой|ом|ов|ам|ами|ах)\M', '', 'g'),
    '(?<=[ая]т)(?:и|ью|ей|ям|ями|ях)\M', 'ь', 'g')));

-- Stems without what comes and goes before the last consonant: "кружек" and "кружка", "чехол" and "чехлы", "конёк" and
-- "коньки" have the same. Stems of one syllable stay: "стол" is not "стла".
CREATE FUNCTION roots_of(stems text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(
    SELECT regexp_replace(stem, '([аеиоуыэюя].*[бвгджзйклмнпрстфхцчшщ])[еоь]([клц])$', '\1\2')
      FROM unnest(stems) AS stem
);

-- Roots, and the words as they are: for what is looked for by its beginning.
CREATE FUNCTION forms_of(words text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN roots_of(stems_of(words)) || words;

-- The one word that is an attribute with its value, for filters. No name is longer than 64 characters.
CREATE FUNCTION attribute_lexeme(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ':' || name || ':' || left(array_to_string(words_of(value), ' '), 400);

-- What a product is found by. Each word begins with the letter of where it stands: n names (and the sku), a attributes,
-- d descriptions; so one question can ask for names and not for the rest. What has hyphens in a name is a word without
-- them too: "av1001".
CREATE FUNCTION found_by(
    sku bigint, names text, attribute_names text[], values_ru text[], values_en text[], descriptions text
) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN array_to_tsvector(ARRAY(
    SELECT 'n' || form
      FROM unnest(forms_of(words_of(
               concat_ws(' ', sku, names, regexp_replace(names, '(?<=[[:alnum:]])[-‐‑](?=[[:alnum:]])', '', 'g'))
           ))) AS form
     UNION ALL
    SELECT 'a' || form FROM unnest(forms_of(words_of(array_to_string(values_ru || values_en, ' ')))) AS form
     UNION ALL
    SELECT 'd' || form
      FROM (SELECT stems_of(words_of(descriptions)) AS stems) AS described,
           unnest(stems || roots_of(stems)) AS form
     UNION ALL
    SELECT attribute_lexeme(name, value)
      FROM unnest(attribute_names || attribute_names, values_ru || values_en) AS one (name, value)
));

-- What is looked for: all the words in any form, in these places ('na'), the last one also by its beginning where told
-- so. Null where the query has no word. Of more words than twelve the first ones are looked for.
CREATE FUNCTION asked_words(query text, places text, by_beginning boolean) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    words text[] := (words_of(query))[1:12];
    roots text[];
    wanted text[] := '{}';
    last text;
BEGIN
    FOR number IN 1 .. cardinality(words) LOOP
        CONTINUE WHEN words[number] = ANY (words[number + 1:]);
        roots := roots_of(stems_of(words[number:number]));
        IF cardinality(roots) = 0 THEN
            -- A word such as "for" has no stem. Beside others it tells nothing, nor does the beginning of the next one.
            CONTINUE WHEN cardinality(wanted) > 0 OR number < cardinality(words);
            roots := words[number:number];
        END IF;
        last := CASE WHEN by_beginning AND number = cardinality(words) THEN words[number] END;
        wanted := wanted || (
            SELECT string_agg(one, ' | ')
              FROM unnest(string_to_array(places, NULL)) AS place,
                   LATERAL (SELECT '(' || string_agg(place || root, ' & ') || ')' FROM unnest(roots) AS root
                             UNION ALL
                            SELECT place || last || ':*') AS these (one)
        );
    END LOOP;
    RETURN '(' || nullif(array_to_string(wanted, ') & ('), '') || ')';
END
$$;

-- Filters "color:Black" as one: any of those with the same name, for each name.
CREATE FUNCTION asked_attributes(filters text[]) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    SELECT string_agg('(' || one_of || ')', ' & ')::tsquery
      FROM (SELECT string_agg(quote_literal(attribute_lexeme(name, substr(wanted, length(name) + 2))), ' | ') AS one_of
              FROM (SELECT wanted, split_part(wanted, ':', 1) AS name FROM unnest(filters) AS wanted) AS named
             GROUP BY name) AS grouped
);

ALTER TABLE products
    ADD description_ru      text NOT NULL DEFAULT '' CHECK (char_length(description_ru) <= 10000),
    ADD description_en      text NOT NULL DEFAULT '' CHECK (char_length(description_en) <= 10000),
    -- An attribute is the same place of all three.
    ADD attribute_names     text[] NOT NULL DEFAULT '{}',
    ADD attribute_values_ru text[] NOT NULL DEFAULT '{}',
    ADD attribute_values_en text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT products_attributes_are_whole
        CHECK (cardinality(attribute_names) = cardinality(attribute_values_ru)
               AND cardinality(attribute_names) = cardinality(attribute_values_en)),
    -- Of one unit with its package; 0: not known.
    ADD weight_g            bigint NOT NULL DEFAULT 0 CHECK (weight_g BETWEEN 0 AND 4294967295),
    ADD height_mm           bigint NOT NULL DEFAULT 0 CHECK (height_mm BETWEEN 0 AND 4294967295),
    ADD width_mm            bigint NOT NULL DEFAULT 0 CHECK (width_mm BETWEEN 0 AND 4294967295),
    ADD length_mm           bigint NOT NULL DEFAULT 0 CHECK (length_mm BETWEEN 0 AND 4294967295),
    ADD pictures            text[] NOT NULL DEFAULT '{}',
    ADD discount            smallint NOT NULL DEFAULT 0 CHECK (discount BETWEEN 0 AND 99),  -- percent off `price`
    -- What the product costs. Parts of a minor unit are not taken off: in the shop's favour, by less than one of them.
    ADD price_charged       bigint NOT NULL GENERATED ALWAYS AS (price - price * discount / 100) STORED,
    ADD feed_version        bigint CHECK (feed_version >= 0),  -- the newest of the product feed; null: it told none yet
    ADD tax                 bigint CHECK (tax >= 0),           -- as the feed tells it
    ADD found_by            tsvector STORAGE EXTERNAL NOT NULL GENERATED ALWAYS AS (
        found_by(sku, name_ru || ' ' || name_en, attribute_names, attribute_values_ru, attribute_values_en,
                 description_ru || ' ' || description_en)
    ) STORED;

-- Without a list of what is not indexed yet: all who search would read through it.
CREATE INDEX products_search ON products USING gin (found_by)
    WITH (fastupdate = off)
    WHERE is_active;
-- The orders of lists.
CREATE INDEX products_by_price ON products (price_charged, sku) WHERE is_active;
CREATE INDEX products_by_discount ON products (discount, sku) WHERE is_active;
CREATE INDEX products_by_age ON products (created_at, sku) WHERE is_active;
-- migrate:down
