-- migrate:up
SET LOCAL lock_timeout = '5s';

-- How texts become words, for what is stored and for what is asked alike: lower case, "ё" as "е", and whatever is
-- neither letter nor digit parts words. So no query has an operator, and "AV-1001" is the words "av" and "1001".
CREATE FUNCTION words_of(text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN btrim(regexp_replace(translate(lower(normalize($1, NFKC)), 'ё', 'е'), '[^[:alnum:]]+', ' ', 'g'));

-- Stems of words: this configuration has Russian rules for Cyrillic words and English ones for Latin words.
CREATE FUNCTION stems_of(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN tsvector_to_array(to_tsvector('pg_catalog.russian', words));

-- Stems, and the words as they are: for what is looked for by its beginning.
CREATE FUNCTION forms_of(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN stems_of(words) || array_remove(string_to_array(words, ' '), '');

-- What a product is found by. Each word begins with the letter of where it stands: n names (and the sku), a attributes,
-- d descriptions; so one question can ask for names and not for the rest. For filters attributes are ':color:черный' too.
CREATE FUNCTION found_by(
    sku bigint, names text, attribute_names text[], values_ru text[], values_en text[], descriptions text
) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN array_to_tsvector(ARRAY(
    SELECT 'n' || form FROM unnest(forms_of(words_of(sku::text || ' ' || names))) AS form
     UNION ALL
    SELECT 'a' || form FROM unnest(forms_of(words_of(array_to_string(values_ru || values_en, ' ')))) AS form
     UNION ALL
    SELECT 'd' || stem FROM unnest(stems_of(words_of(descriptions))) AS stem
     UNION ALL
    SELECT ':' || name || ':' || words_of(value)
      FROM unnest(attribute_names || attribute_names, values_ru || values_en) AS one (name, value)
));

-- What is looked for: all the words in any form, in these places ('na'), the last one also by its beginning where told
-- so. Null where the query has no word.
CREATE FUNCTION asked_words(query text, places text, by_beginning boolean) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
AS $$
DECLARE
    words text[] := array_remove(string_to_array(words_of(query), ' '), '');
    stems text[];
    wanted text[] := '{}';
    last text;
BEGIN
    FOR number IN 1 .. cardinality(words) LOOP
        stems := stems_of(words[number]);
        IF cardinality(stems) = 0 THEN
            -- A word such as "for" has no stem. Beside others it tells nothing, nor does the beginning of the next one.
            CONTINUE WHEN cardinality(wanted) > 0 OR number < cardinality(words);
            stems := words[number:number];
        END IF;
        last := CASE WHEN by_beginning AND number = cardinality(words) THEN words[number] END;
        wanted := wanted || (
            SELECT string_agg(one, ' | ')
              FROM unnest(string_to_array(places, NULL)) AS place,
                   LATERAL (SELECT '(' || string_agg(place || stem, ' & ') || ')' FROM unnest(stems) AS stem
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
      FROM (SELECT string_agg(quote_literal(':' || name || ':' || words_of(substr(wanted, length(name) + 2))), ' | ')
                   AS one_of
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
